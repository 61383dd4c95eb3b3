"""What `neurons` asks of a checkpoint on a text, and what it writes of all; `watching.py` runs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.measure.checkpoint.loading import load_tokenizer
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.neurons.api import NeuronReport, report_of
from sparsity_lab.measure.neurons.estimates import position_ratios, token_ratios
from sparsity_lab.measure.neurons.frequency import tables
from sparsity_lab.measure.neurons.frequency.decoding import DecodePlan, auto_plan
from sparsity_lab.measure.neurons.frequency.record import KIND
from sparsity_lab.measure.neurons.mixtures.rows import rows_of_experts
from sparsity_lab.measure.neurons.rows import (
    chunk_rows,
    decode_rows,
    layer_rows,
    parameter_rows,
)
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.watching import Made, PlaceCommand, PlaceRecipe, Watched
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.places import Place

logger = logging.getLogger(__name__)

ALGORITHM = 2  # raised when a change to this room changes numbers; part of every content key
FEW_TOKENS = 10_000  # below, a neuron is called dead on the evidence of fewer than ten expected firings


@dataclass(frozen=True)
class FrequencyRecipe(PlaceRecipe):
    """What the neurons do on a text, and where the model writes.

    Attributes:
        plan: what to let the model write, or None.
    """

    KIND = KIND

    plan: DecodePlan | None

    def determinants(self, measured: str) -> dict[str, Any]:
        """See `PlaceRecipe`."""
        plan = None if self.plan is None else asdict(self.plan)
        return {"neurons": ALGORITHM, "measured": measured, "plan": plan}

    def made(self, place: Place, desk: Desk) -> Made:
        """What the neurons do, the model's shape with it."""
        tokens = place.prepared.windows.tokens
        if tokens < FEW_TOKENS:
            logger.info("%s: on %d tokens a neuron that fires rarely may look dead", place.text, tokens)
        seed = self.watch.seed
        shape, subject = self.loaded(place, desk)
        asked = partial(report_of, decode=self.plan, params_total=shape["params_total"], seed=seed)
        report = halving(subject, lambda: asked(subject, place.calibration))
        _tell_few(report, text=place.text)
        arrays = arrays_of(report)
        words = _texts(place.prepared.checkpoint.source, arrays["token_ids"])
        return {**_body(report, place), **shape, "token_text": words}, arrays


def neurons_command(spec: NeuronSpec, thresholds: Sequence[Path]) -> PlaceCommand:
    """What `neurons` asks: `neuron_records/`, the tables of `tables.py`, and `neurons.json`."""

    def recipes(of_checkpoint: Sequence[Place]) -> list[FrequencyRecipe]:
        """One for each text, with what the model writes there."""
        plans = [_plan(spec, window=place.prepared.windows.window) for place in of_checkpoint]
        pairs = zip(of_checkpoint, plans, strict=True)
        return [FrequencyRecipe(spec, place.calibration, place.text, plan) for place, plan in pairs]

    def write(output: Path, watched: Watched) -> dict[str, Any]:
        tables.write_tables(output, watched, seed=spec.seed)
        return {}

    keys = ("activation_ratio", "activation_ratio_se", "loss_sparse_nats")
    return PlaceCommand(
        KIND, spec, thresholds, recipes, write, values=lambda body: {key: body[key] for key in keys},
        summary="neurons", keys=keys,
    )  # fmt: skip


def _tell_few(report: NeuronReport, *, text: str) -> None:
    """Say it where experts saw few tokens."""
    if report.estimator.counts.experts is not None:
        reached = report.estimator.reached.sum(axis=0)
        few, none = int((reached < FEW_TOKENS).sum()), int((reached == 0).sum())
        if few:
            logger.info(
                "%s: %d of %d experts and networks saw fewer than %d tokens, %d of them none: a neuron that fires "
                "rarely may look dead", text, few, len(reached), FEW_TOKENS, none,
            )  # fmt: skip


def _plan(spec: NeuronSpec, *, window: int) -> DecodePlan | None:
    """What to let a model write."""
    if not spec.written_tokens:
        return None
    plan = auto_plan(window=window, prompts=spec.prompts, written_tokens=spec.written_tokens)
    plan.check(window=window)
    return plan


def _body(report: NeuronReport, place: Place) -> dict[str, Any]:
    windows = place.prepared.windows
    ratio = report.estimator.activation_ratio()
    counts = report.estimator.counts
    predictions = int(counts.windows.sum()) * windows.predictions_per_window
    return {
        "activation_ratio": ratio.value,
        "activation_ratio_se": ratio.se,
        "loss_sparse_nats": float(counts.loss_nats.sum() / predictions),
        "layer_rows": layer_rows(report),
        "chunk_rows": chunk_rows(report),
        "parameter_rows": parameter_rows(report),
        "decode_rows": decode_rows(report),
        **rows_of_experts(report),
    }


def arrays_of(report: NeuronReport) -> dict[str, np.ndarray]:
    """The arrays of a record; see `record.ARRAYS`."""
    e = report.estimator
    counts, at_hand = e.counts, e.sizes_at_hand
    ids = np.flatnonzero(counts.token_count)
    token_ratio, token_error = token_ratios(counts, at_hand, ids)
    position_ratio, position_error = position_ratios(counts, at_hand)
    of_sites = {"site_sizes": e.site_sizes, "site_tokens": e.reached.sum(axis=0)}
    return {
        "sizes": e.sizes,
        **(of_sites if counts.experts is not None else {}),
        "fired": counts.fired.sum(axis=0),
        "token_ids": ids,
        "token_count": counts.token_count[ids],
        "token_active": counts.token_active[:, ids],
        "token_ratio": token_ratio,
        "token_ratio_se": token_error,
        "position_active": counts.position_active,
        "position_ratio": position_ratio,
        "position_ratio_se": position_error,
    }


def _texts(source: Source, ids: np.ndarray) -> list[str]:
    """What each token reads as, one line each; a part of a character by the tokenizer's own name of it."""
    tokenizer = load_tokenizer(source)
    found = []
    for token in ids.tolist():
        text = tokenizer.decode([token])
        if not text or "\ufffd" in text:
            text = str(tokenizer.convert_ids_to_tokens(token))
        found.append(
            text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        )
    return found
