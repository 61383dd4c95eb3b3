"""Thresholds found on one text, ready to be applied to another: calibrate on A, measure on B.

A record of `measure` holds one threshold a layer on its criterion's score. Where a weight of that score was
itself measured on the text (per-channel: mean |u_i|) it is in a `.safetensors` file next to the record, named and
hashed by it. Applied, a neuron is dropped where its score lies at or below the threshold, as when calibrating.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.store import records
from sparsity_lab.store.arrays import packed, read_arrays

if TYPE_CHECKING:
    from torch import Tensor

    from sparsity_lab.measure.criteria._scores import Score
    from sparsity_lab.measure.model.hooks import FfnSite

# What of a model must be the same where thresholds are applied, and how it is called.
SHAPE = {
    "architecture": "architecture",
    "activation_function": "activation function",
    "hidden_size": "hidden size d",
    "intermediate_size": "F",
}

ANOTHER_RECORD = "Name a record of `sparsity-lab measure`, made with a criterion that sets thresholds"
OWN_RECORD = "Measure this model, or a checkpoint of its shape, and name that record"


@dataclass(frozen=True)
class Calibration:
    """Thresholds of one criterion, with what they were found on.

    Attributes:
        criterion: id of the criterion.
        thresholds: on its score, one for each FFN layer, float32 values.
        name: what to call them in messages.
        knob: where they were set, None where thresholds were given bare.
        ppl_increase: p of PPL-p% where they were set so, else None.
        score_weights: [F] float32 of each layer, for scores with a weight measured on the text; else None.
        shape: of the model they were found on, keys of `SHAPE`; empty where thresholds were given bare.
        calibrated_on: `content_key` of the record they come from and `text_sha256` of its text, or None.
    """

    criterion: str
    thresholds: tuple[float, ...]
    name: str = "The thresholds"
    knob: float | None = None
    ppl_increase: float | None = None
    score_weights: tuple[Tensor, ...] | None = None
    shape: Mapping[str, Any] | None = None
    calibrated_on: Mapping[str, str] | None = None

    @property
    def score(self) -> Score:
        """The score the thresholds are on."""
        found: Score = registry.load("criteria", self.criterion).threshold_score()
        return found

    def identity(self) -> dict[str, object]:
        """What determines the mask: criterion, thresholds and score weights, for a content key."""
        digest = hashlib.sha256()
        for weight in self.score_weights or ():
            digest.update(weight.numpy().tobytes())
        return {
            "criterion": self.criterion,
            "thresholds": list(self.thresholds),
            "score_weights": digest.hexdigest() if self.score_weights else None,
            "from": self.calibrated_on and self.calibrated_on["content_key"],
        }


def read_calibration(path: Path) -> Calibration:
    """The calibration of a record on disk.

    Raises:
        SparsityLabError: not a record, a damaged one, one of a criterion without thresholds, or without the
            file that has the weights of its score.
    """
    record = records.read_record(path)
    missing = [key for key in ("criterion", "knob", "thresholds", "layers", *SHAPE) if key not in record]
    if missing:
        raise SparsityLabError(
            f"{path} is not a record of `sparsity-lab measure`: it has no {missing[0]!r}", fix=ANOTHER_RECORD
        )
    wanted = record.get("score_weights_sha256")
    records.has_weights(path, record)  # which completes a record that was being replaced
    weights = None if wanted is None else _read_weights(path, wanted)
    return of_record(record, name=f"The record {path}", score_weights=weights)


def of_record(
    record: Mapping[str, Any], *, name: str, score_weights: tuple[Tensor, ...] | None = None
) -> Calibration:
    """The calibration of a record at hand.

    Raises:
        SparsityLabError: a criterion without thresholds, a threshold that is negative or no number, or a score
            whose weights are not given.
    """
    criterion = str(record.get("criterion", "cett"))
    if not record.get("thresholds"):
        raise SparsityLabError(
            f"{name} holds no thresholds",
            why=f"{criterion} decides token by token, from that token's own scores",
            fix=f"Measure with --criterion {criterion} --knob {record.get('knob')}: it does the same on any text",
        )
    if not hasattr(registry.load("criteria", criterion), "threshold_score"):
        raise SparsityLabError(
            f"{name} has thresholds of {criterion}, a criterion that cannot apply them", fix=ANOTHER_RECORD
        )
    origin = record.get("calibrated_on")
    if origin is None and "text_sha256" in record:
        origin = {key: str(record[key]) for key in ("content_key", "text_sha256")}
    found = Calibration(
        criterion=criterion,
        thresholds=checked(record["thresholds"]),
        name=name,
        knob=record.get("knob"),
        ppl_increase=record.get("ppl_increase_target"),
        score_weights=score_weights,
        shape={key: record[key] for key in SHAPE if key in record},
        calibrated_on=origin,
    )
    if found.score.weight == "mean-up" and score_weights is None:
        raise SparsityLabError(
            f"{name} does not come with the weights of its score, mean |u_i|",
            fix="Give the path of the record, with its .safetensors file next to it",
        )
    return found


def of_measurement(measured: Measurement) -> Calibration:
    """The calibration of a result at hand.

    Raises:
        SparsityLabError: a criterion without thresholds.
    """
    found = {
        "criterion": measured.criterion,
        "knob": measured.knob,
        "thresholds": measured.thresholds,
        "ppl_increase_target": measured.ppl_increase_target,
    }
    return of_record(found, name="The result", score_weights=measured.score_weights)


def checked(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Thresholds as floats; a tensor or an array of them will do.

    Raises:
        SparsityLabError: one of them is negative or not a number, or they are not a sequence.
    """
    listed: Any = thresholds.tolist() if hasattr(thresholds, "tolist") else thresholds
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise SparsityLabError(f"The thresholds are {str(listed)[:80]!r}", fix="Give one number a layer")
    values = []
    for layer, value in enumerate(listed):
        if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= 0:
            raise SparsityLabError(
                f"The threshold of layer {layer} is {value}, not a number from 0 on",
                fix="Give what `sparsity-lab measure` wrote, unchanged: one threshold a layer",
            )
        values.append(float(value))
    return tuple(values)


def refuse_other_models(
    calibration: Calibration, sites: Sequence[FfnSite], *, shape: Mapping[str, Any]
) -> None:
    """Refuse thresholds that are of another kind of model.

    Args:
        calibration: the thresholds.
        sites: FFN sites of the model they are to be applied to.
        shape: of that model, keys of `SHAPE`.

    Raises:
        SparsityLabError: another number of layers, another FFN size, another family or activation function, or
            a part that the score needs and the model does not have.
    """
    if len(calibration.thresholds) != len(sites):
        raise SparsityLabError(
            f"{len(calibration.thresholds)} thresholds for a model of {len(sites)} FFN layers",
            why=f"{calibration.name} is of another model" if calibration.shape else "",
            fix=OWN_RECORD,
        )
    for key, said in SHAPE.items():
        found, own = (calibration.shape or {}).get(key), shape.get(key)
        if found is not None and own is not None and found != own:
            raise SparsityLabError(
                f"{calibration.name} is of a model with {said} = {found}, this one has {said} = {own}",
                fix=OWN_RECORD,
            )
    calibration.score.check(sites, criterion=calibration.criterion)
    for site, weight in zip(sites, calibration.score_weights or (), strict=False):
        if weight.shape != (site.intermediate_size,):
            raise SparsityLabError(
                f"The weights of {calibration.name} are of {weight.numel()} neurons in layer {site.layer}, "
                f"this model has {site.intermediate_size}",
                fix=OWN_RECORD,
            )


def write_weights(folder: Path, key: str, weights: Sequence[Tensor]) -> str:
    """Write score weights next to the record of a content key; the file's hash."""
    named = {f"score_weights.{layer}": weight.cpu().numpy() for layer, weight in enumerate(weights)}
    data = packed(named, content_key=key, layers=json.dumps(len(weights)))
    return records.write_weights(folder, key, data)


def _read_weights(path: Path, sha256: str) -> tuple[Tensor, ...]:
    import torch

    named = read_arrays(
        path, sha256, what="the weights of the score", fix="Take it from a copy, or measure again"
    )
    return tuple(torch.from_numpy(named[f"score_weights.{layer}"]) for layer in range(len(named)))
