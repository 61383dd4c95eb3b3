"""What was proved of a model's feed-forward networks, for readers and records."""

from __future__ import annotations

from typing import NamedTuple

from sparsity_lab.measure.model.hooks import FfnSite


class Certificate(NamedTuple):
    """That what a threshold is set on is what it is taken for.

    Attributes:
        largest_difference: between what passed by at a site and what should, relative (norm over norm).
        sites: how many were compared.
        tokens: that passed.
        dtype: of the model, without `torch.`.
        activation: transformers' name of sigma that the config gives and that was compared; None where it gives none.
        side_paths: neurons of the networks that are not sites, by the name of each one's last matrix.
        experts: how many of the sites are experts of mixtures.
        experts_compared: those of them that tokens came to.
    """

    largest_difference: float
    sites: int
    tokens: int
    dtype: str
    activation: str | None
    side_paths: dict[str, int] = {}  # noqa: RUF012 - never changed
    experts: int = 0
    experts_compared: int = 0

    def sentence(self, source: object) -> str:
        """The certificate for readers."""
        sigma = "" if self.activation is None else f", sigma is {self.activation}"
        paths = [f"{name} ({neurons} neurons)" for name, neurons in self.side_paths.items()]
        others = f" Not measured: {', '.join(paths)}." if paths else ""
        return (
            f"{self.sites} feed-forward networks of {source} are what they are taken for{sigma}: the largest relative "
            f"difference is {self.largest_difference:.1e}, over {self.tokens} tokens in {self.dtype}.{self._unreached}"
            f"{others}"
        )

    @property
    def _unreached(self) -> str:
        few, experts = self.experts_compared, self.experts
        return (
            ""
            if few == experts
            else f" Of its {experts} experts {few} were compared: no token came to others."
        )


class FoundSites(NamedTuple):
    """The feed-forward networks of a model.

    Attributes:
        architecture: id of what found them: the model's type, or an architecture file's name.
        sites: input side first.
        certificate: that they are what they are taken for.
        activation: transformers' name of sigma, from config, file or model; None where none names it.
    """

    architecture: str
    sites: list[FfnSite]
    certificate: Certificate
    activation: str | None
