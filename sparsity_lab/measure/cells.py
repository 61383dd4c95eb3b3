"""One cell: one checkpoint in one setting, from its content key to its record.

The key is a hash of all that determines the numbers (weights, token ids, window, BOS, dtype, device kind,
criterion, knob or target, seed, version of the algorithm), and of nothing that does not (batch size, names).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sparsity_lab import records
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures, engine
from sparsity_lab.measure.api import find_sites
from sparsity_lab.measure.loading import (
    Source,
    choose_device,
    choose_dtype,
    fingerprint,
    load_config,
    load_model,
    load_tokenizer,
    trained_tokens,
)
from sparsity_lab.measure.measurement import Measurement
from sparsity_lab.measure.sites import FfnSite
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.subject import Subject, auto_batch_size
from sparsity_lab.measure.text import Windows, bos_of, choose_window, cut, encode, read_text
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance

logger = logging.getLogger(__name__)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class Setting:
    """How the knob of a cell is chosen.

    Attributes:
        rule: `fixed`, `ppl-increase`, `activation-ratio` or `series`.
        knob: given for `fixed` and `series`.
        ppl_increase: given for `ppl-increase` and `series`.
        activation_ratio: given for `activation-ratio`.
    """

    rule: str
    knob: float | None = None
    ppl_increase: float | None = None
    activation_ratio: float | None = None


@dataclass(frozen=True)
class Prepared:
    """A checkpoint with its text, before its weights are loaded."""

    checkpoint: Checkpoint
    config: Any
    windows: Windows
    device: str
    dtype: torch.dtype
    dtype_reason: str
    identity: str


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's model with its FFN sites, proved once.

    Attributes:
        checkpoint: which one.
        model: the causal LM.
        architecture: id of its architecture file.
        sites: its FFN sites.
    """

    checkpoint: Checkpoint
    model: Any
    architecture: str
    sites: list[FfnSite]


class Bench:
    """Prepares checkpoints, loads each model once at a time, and answers cells from records where it can."""

    def __init__(self, spec: MeasureSpec, *, folder: Path, progress: Progress = SILENT) -> None:
        self.spec, self.folder, self.progress = spec, folder, progress
        self.text = read_text(spec.text, tokens=spec.tokens)
        self.encoded: dict[str, tuple[torch.Tensor, int | None]] = {}
        self.loaded: Loaded | None = None
        self.measured: set[str] = set()

    def prepare(self, checkpoint: Checkpoint) -> Prepared:
        """Read a checkpoint's config and tokenise the text for it.

        Raises:
            SparsityLabError: a checkpoint, text or window that cannot be measured.
        """
        spec, source = self.spec, checkpoint.source
        config = load_config(source, architecture_file=spec.architecture_file)
        ids, bos_id = self._encode(source)
        positions = getattr(config, "max_position_embeddings", None)
        window = choose_window(spec.window, positions=positions, bos=bos_id is not None)
        device = choose_device(spec.device)
        dtype, reason = choose_dtype(spec.dtype, config=config, device=device)
        windows = cut(ids, window=window, bos_id=bos_id)
        return Prepared(checkpoint, config, windows, device, dtype, reason, fingerprint(source))

    def key(self, prepared: Prepared, setting: Setting) -> str:
        """Content key of a cell."""
        spec, windows = self.spec, prepared.windows
        file = spec.architecture_file
        own = {} if file is None else {"architecture_file": architectures.file_sha256(file)}
        return records.content_key(
            {
                **own,
                "algorithm": engine.ALGORITHM,
                "weights": prepared.identity,
                "text": windows.sha256,
                "window": windows.window,
                "bos": windows.bos_id,
                "dtype": str(prepared.dtype),
                "device": torch.device(prepared.device).type if prepared.device != "auto" else "cuda",
                "criterion": spec.criterion,
                "rule": setting.rule,
                "knob": setting.knob,
                "ppl_increase": setting.ppl_increase,
                "activation_ratio": setting.activation_ratio,
                "seed": spec.seed,
            }
        )

    def done(self, prepared: Prepared, setting: Setting) -> dict[str, Any] | None:
        """The record of a cell, where there is one."""
        return records.find_record(self.folder, self.key(prepared, setting))

    def record(self, prepared: Prepared, setting: Setting) -> dict[str, Any]:
        """The record of a cell: read where it exists, measured and written where not."""
        found = self.done(prepared, setting)
        if found is not None:
            if found["content_key"] not in self.measured:
                logger.info("%s, %s: measured before", prepared.checkpoint.source, setting.rule)
            return found
        loaded = self._load(prepared)
        measurement = self._measure(loaded, prepared, setting)
        body = self._body(loaded, prepared, setting, measurement)
        records.write_record(self.folder, body)
        self.measured.add(body["content_key"])
        return records.read_record(self.folder / f"{body['content_key']}.json")

    def _encode(self, source: Source) -> tuple[torch.Tensor, int | None]:
        """Token ids and BOS; checkpoints of one run share a tokenizer, which then reads the text once."""
        identity = _tokenizer_identity(source)
        if identity not in self.encoded:
            tokenizer = load_tokenizer(source)
            ids = encode(tokenizer, self.text, tokens=self.spec.tokens)
            if ids.numel() < self.spec.tokens:
                logger.info(
                    "tokens %d: the text has no more for the %d wanted", ids.numel(), self.spec.tokens
                )
            self.encoded[identity] = (ids, bos_of(tokenizer, wanted=self.spec.bos))
        return self.encoded[identity]

    def _load(self, prepared: Prepared) -> Loaded:
        if self.loaded is None or self.loaded.checkpoint != prepared.checkpoint:
            self.loaded = None  # free the last model before the next is read
            source = prepared.checkpoint.source
            model = load_model(source, dtype=prepared.dtype, device=prepared.device)
            vocabulary = int(model.get_input_embeddings().weight.shape[0])
            largest = int(prepared.windows.ids.max())
            if largest >= vocabulary:
                raise SparsityLabError(
                    f"The tokenizer of {source} gives token {largest}, the model knows {vocabulary}",
                    fix="Put the model's own tokenizer beside its weights",
                )
            architecture, sites = find_sites(model, architecture_file=self.spec.architecture_file)
            self.loaded = Loaded(prepared.checkpoint, model, architecture, sites)
        return self.loaded

    def _measure(self, loaded: Loaded, prepared: Prepared, setting: Setting) -> Measurement:
        spec, windows = self.spec, prepared.windows
        batch = spec.batch_size or auto_batch_size(prepared.device, window=windows.window)
        subject = Subject(loaded.model, loaded.sites, windows, batch, self.progress)
        if setting.knob is not None:
            return engine.at_knob(subject, criterion=spec.criterion, knob=setting.knob, seed=spec.seed)
        if setting.activation_ratio is not None:
            return engine.at_activation_ratio(
                subject, criterion=spec.criterion, activation_ratio=setting.activation_ratio, seed=spec.seed
            )
        assert setting.ppl_increase is not None
        return engine.at_ppl_increase(
            subject, criterion=spec.criterion, ppl_increase=setting.ppl_increase, seed=spec.seed
        )

    def _body(
        self, loaded: Loaded, prepared: Prepared, setting: Setting, measured: Measurement
    ) -> dict[str, Any]:
        """The record, less its own hash; see `records.RECORD_KEYS`."""
        source, windows = prepared.checkpoint.source, prepared.windows
        dense, sparse = measured.dense, measured.sparse
        low, high = measured.spread.activation_ratio_interval
        return {
            "model": source.model,
            "revision": source.revision,
            "series": prepared.checkpoint.series,
            "criterion": measured.criterion,
            "rule": setting.rule,
            "knob": measured.knob,
            "knob_interval": None if measured.spread.knob is None else list(measured.spread.knob),
            "ppl_increase_target": setting.ppl_increase,
            "activation_ratio_target": setting.activation_ratio,
            "activation_ratio": measured.activation_ratio,
            "activation_ratio_se": measured.spread.activation_ratio,
            "activation_ratio_interval": [low, high],
            "activation_ratio_per_layer": sparse.ratio_per_layer(measured.sizes).tolist(),
            "activated_share": sparse.activated_share(measured.sizes),
            "thresholds": measured.thresholds,
            "loss_dense_nats": dense.mean_loss_nats(),
            "loss_sparse_nats": sparse.mean_loss_nats(),
            "ppl_dense": float(torch.tensor(dense.mean_loss_nats(), dtype=torch.float64).exp()),
            "ppl_sparse": float(torch.tensor(sparse.mean_loss_nats(), dtype=torch.float64).exp()),
            "ppl_ratio": measured.ppl_ratio,
            "loss_delta_se_nats": measured.spread.loss_delta_nats,
            "flags": list(measured.flags),
            "search": [[e.knob, e.rise_nats, int(e.counts.seen.sum())] for e in measured.searched],
            "forward_passes": measured.forward_passes,
            "zero_output_tokens": measured.sums.zero_outputs.sum(axis=0).tolist(),
            "nonzero_ratio": measured.nonzero_ratio,
            "tokens": windows.tokens,
            "window": windows.window,
            "bos": windows.bos_id is not None,
            "trained_tokens": trained_tokens(source),
            **_shape(loaded, prepared.config, self.spec.architecture_file),
            "text_sha256": windows.sha256,
            "seed": self.spec.seed,
            "content_key": self.key(prepared, setting),
            "provenance": provenance(
                device=prepared.device,
                dtype=str(prepared.dtype).removeprefix("torch."),
                dtype_reason=prepared.dtype_reason,
            ),
        }


def setting_of(spec: MeasureSpec) -> Setting:
    """The setting of a spec without the series rule."""
    if spec.knob is not None:
        return Setting("fixed", knob=spec.knob)
    if spec.activation_ratio is not None:
        return Setting("activation-ratio", activation_ratio=spec.activation_ratio)
    return Setting("ppl-increase", ppl_increase=spec.ppl_increase)


def at(setting: Setting, knob: float) -> Setting:
    """The series rule's setting at the one knob found."""
    return replace(setting, rule="series", knob=knob)


def _shape(loaded: Loaded, config: Any, architecture_file: Path | None) -> dict[str, Any]:
    model, sites = loaded.model, loaded.sites
    _, architecture = architectures.find(config, file=architecture_file)
    layers = config.num_hidden_layers if any(site.routed for site in sites) else len(sites)
    weights = {id(p): p.numel() for p in model.parameters()}
    embeddings = {id(m.weight): m.weight.numel() for m in _embeddings(model)}
    total = sum(weights.values())
    return {
        "architecture": loaded.architecture,
        "activation_function": architectures.activation_name(config, architecture),
        "gated": sites[0].gated,
        "params_total": total,
        "params_nonembedding": total - sum(embeddings.values()),
        "hidden_size": int(config.hidden_size),
        "intermediate_size": sites[0].intermediate_size,
        "layers": layers,
        "width_depth_ratio": config.hidden_size / layers,
    }


def _embeddings(model: Any) -> list[Any]:
    return [m for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None]


def _tokenizer_identity(source: Source) -> str:
    folder = source.folder
    if folder is None or source.model.endswith(".gguf"):
        return str(source)
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()
