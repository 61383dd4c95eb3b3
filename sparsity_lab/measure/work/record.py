"""What a record says: the numbers of one measurement, the model's shape, and where both come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsity_lab.measure.model.proof import FoundSites
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search.measurement import Measurement

NO_FILES: Mapping[str, Any] = {
    "weights_sha256": None, "unused_tensors": {}, "unused_files": [], "weights_from": None,
}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """What a record says of its checkpoint that no measurement shows.

    Attributes:
        model: directory or Hub id, as given.
        revision: Hub revision, or None.
        commit: hash of the commit that it meant, or None.
        series: name of the run it belongs to.
        trained_tokens: tokens it was trained on, or None.
    """

    model: str
    revision: str | None
    series: str
    trained_tokens: int | None
    commit: str | None = None

    def words(self) -> dict[str, Any]:
        """What it is called, under the keys of a record."""
        return {
            "model": self.model,
            "revision": self.revision,
            "commit": self.commit,
            "series": self.series,
        }


def shape_of(model: Any, found: FoundSites) -> dict[str, Any]:
    """The model's shape, under the keys of a record.

    Args:
        model: a transformers causal LM.
        found: its FFN sites.
    """
    config, sites = model.config.get_text_config(), found.sites
    layers = config.num_hidden_layers if any(site.routed for site in sites) else len(sites)
    weights = {id(p): p.numel() for part in text_parts(model) for p in part.parameters()}
    embeddings = {id(m.weight): m.weight.numel() for m in _embeddings(model)}
    total = sum(weights.values())
    return {
        "architecture": found.architecture,
        "activation_function": found.activation,
        "site_certificate": found.certificate._asdict(),
        "gated": sites[0].gated,
        "params_total": total,
        "params_nonembedding": total - sum(embeddings.values()),
        "hidden_size": int(config.hidden_size),
        "intermediate_size": sites[0].intermediate_size,
        "layers": layers,
        "width_depth_ratio": config.hidden_size / layers,
    }


def record_body(
    measured: Measurement,
    *,
    named: Named,
    setting: Mapping[str, Any],
    windows: Windows,
    shape: Mapping[str, Any],
) -> dict[str, Any]:
    """What a record says of model, text, setting and numbers; see `record_keys.Record`.

    The caller adds what names the record and says where it comes from: seed, content_key, provenance, and
    weights_sha256, unused_tensors, unused_files and weights_from where these are not those of `NO_FILES`.

    Args:
        measured: the numbers.
        named: the checkpoint.
        setting: `rule`, targets and, for given thresholds, where those come from.
        windows: the text.
        shape: from `shape_of`.
    """
    return {
        **named.words(),
        "trained_tokens": named.trained_tokens,
        **measured.numbers,
        **setting,
        "tokens": windows.tokens,
        "window": windows.window,
        "bos": windows.bos_id is not None,
        **windows.sampling(),
        **shape,
        "text_sha256": windows.sha256,
        **NO_FILES,
    }


def text_parts(model: Any) -> list[Any]:
    """The modules that next-token losses pass: the model, or its decoder and head where it has other senses as well."""
    if model.config.get_text_config() is model.config:
        return [model]
    return [model.get_decoder(), *_embeddings(model)]


def _embeddings(model: Any) -> list[Any]:
    return [m for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None]
