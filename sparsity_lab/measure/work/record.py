"""What a record says: the numbers of one measurement, the model's shape, and where both come from."""

from __future__ import annotations

import math
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


def numbers_of(measured: Measurement) -> dict[str, Any]:
    """The numbers of one measurement, under the keys of a record."""
    dense, sparse, errors = measured.dense, measured.sparse, measured.errors
    return {
        "criterion": measured.criterion,
        "knob": measured.knob,
        "knob_interval": None if errors.knob is None else list(errors.knob),
        "activation_ratio": measured.activation_ratio,
        "activation_ratio_se": errors.activation_ratio,
        "activation_ratio_interval": list(measured.activation_ratio_interval),
        "activation_ratio_per_layer": sparse.ratio_per_layer(measured.sizes).tolist(),
        "activated_share": sparse.activated_share(measured.sizes),
        "thresholds": measured.thresholds,
        "loss_dense_nats": dense.mean_loss_nats(),
        "loss_sparse_nats": sparse.mean_loss_nats(),
        "ppl_dense": math.exp(dense.mean_loss_nats()),
        "ppl_sparse": math.exp(sparse.mean_loss_nats()),
        "ppl_ratio": measured.ppl_ratio,
        "loss_delta_se_nats": errors.loss_delta_nats,
        "activation_ratio_components": errors.ratio_components.tolist(),
        "loss_delta_components_nats": errors.rise_components.tolist(),
        "activation_ratio_slope": errors.ratio_slope,
        "activation_ratio_se_with_knob": None,
        "activation_ratio_components_with_knob": None,
        "stop_error_nats": errors.stop_nats,
        "error_units": errors.units,
        "errors_at": errors.held,
        "flags": list(measured.flags),
        "search": [[e.knob, e.rise_nats, int(e.counts.seen.sum())] for e in measured.searched],
        "forward_passes": measured.forward_passes,
        "zero_output_tokens": measured.sums.zero_outputs.sum(axis=0).tolist(),
        "nonzero_ratio": measured.nonzero_ratio,
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
        **numbers_of(measured),
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
