"""Holds the one model that is loaded, its FFN sites proved, so that cells of one checkpoint share it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.fingerprints import content_sha256
from sparsity_lab.measure.checkpoint.loading import LoadedModel, load
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.live.arguments import check_names
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.proof import FoundSites, check_sites, not_as_described
from sparsity_lab.measure.model.tokenizers import refuse_ids_beyond

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's model with its FFN sites, proved once.

    Attributes:
        source: which one.
        loading: the causal LM, and what else its files hold.
        content: hash of its config and weights, see `fingerprints`.
        found: its FFN sites.
    """

    source: Source
    loading: LoadedModel
    content: str
    found: FoundSites

    @property
    def sites(self) -> list[FfnSite]:
        """Its FFN sites."""
        return self.found.sites

    @property
    def model(self) -> Any:
        """The causal LM."""
        return self.loading.model

    def files(self) -> dict[str, Any]:
        """What a record says of its files."""
        return {
            "weights_sha256": self.content,
            "unused_tensors": self.loading.unused_tensors,
            "unused_files": list(self.loading.unused_files),
            "weights_from": dict(self.loading.read_from),
        }


class Shelf:
    """One model at a time; the last one is freed before the next is read, and a broken one is read once."""

    def __init__(self, architecture_file: Path | None = None) -> None:
        self.architecture_file = architecture_file
        self.loading: tuple[Source, LoadedModel] | None = None
        self.held: Loaded | None = None
        self.broken: tuple[Source, SparsityLabError] | None = None

    def model(self, source: Source, *, dtype: torch.dtype, device: str) -> LoadedModel:
        """The model of a checkpoint, its FFN sites not looked for; see `get`."""
        if self.broken is not None and self.broken[0] == source:
            raise self.broken[1].copy()
        if self.loading is None or self.loading[0] != source:
            self.loading = self.held = None
            try:
                self.loading = source, load(source, dtype=dtype, device=device)
            except SparsityLabError as error:
                self.broken = source, error.copy()
                raise
        return self.loading[1]

    def get(self, source: Source, *, dtype: torch.dtype, device: str, ids: torch.Tensor) -> Loaded:
        """The model of a checkpoint with its FFN sites.

        Args:
            source: which one.
            dtype, device: as `load_model` takes them, the same for every call.
            ids: the token ids it is to read.

        Raises:
            SparsityLabError: weights or sites that cannot be used, or ids beyond the model's vocabulary.
        """
        loading = self.model(source, dtype=dtype, device=device)
        if self.held is None:
            try:
                found = find_sites(loading.model, architecture_file=self.architecture_file)
                self.held = Loaded(source, loading, content_sha256(source), found)
            except SparsityLabError as error:
                self.loading, self.broken = None, (source, error.copy())
                raise
        refuse_strange_ids(self.held.model, ids, source=source)
        return self.held


def find_sites(model: Any, *, architecture_file: Path | None = None) -> FoundSites:
    """The FFN sites of a causal LM, proved on a few tokens.

    Args:
        model: a transformers causal LM.
        architecture_file: a file of the user's own for its family, executed and used instead of ours.

    Raises:
        SparsityLabError: no networks of a form that is known, or a layout that is not what its architecture file says.
    """
    check_names(architecture_file=architecture_file)
    config, source = model.config.get_text_config(), type(model).__name__
    name, architecture = architectures.find(config, file=architecture_file)
    try:
        sites = list(architecture.sites(model))
    except AttributeError as error:
        raise not_as_described(source, str(error)) from error
    activation = architectures.activation_name(config, architecture)
    certificate = check_sites(model, sites, source=source, activation=activation)
    outside = architectures.outside_sites(model, sites, refuse=architecture_file is None)
    certificate = certificate._replace(side_paths=outside)
    logger.info("%s", certificate.sentence(source))
    return FoundSites(name, sites, certificate, _activation_of(sites, activation))


def _activation_of(sites: Sequence[FfnSite], named: str | None) -> str | None:
    """The name of sigma: the config's, unless all sites have a function of another form."""
    sigmas = [site.sigma for site in sites if site.sigma is not None]
    plain = [site for site in sites if site.activation is not None and not (site.sigma and site.sigma.up)]
    if named is not None and plain:
        return named
    return sigmas[0].name if sigmas else None


def refuse_strange_ids(model: Any, ids: torch.Tensor, *, source: object) -> None:
    """Refuse token ids that the model does not know.

    Raises:
        SparsityLabError: an id beyond the vocabulary.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    refuse_ids_beyond(vocabulary, largest=int(ids.max()), source=source)
