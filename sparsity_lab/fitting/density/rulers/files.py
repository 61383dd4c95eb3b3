"""Rulers on disk: one JSON file each, to be read by people and by `density --ruler`.

A one-step file holds its reference points, from which curves and draws follow by its seed; the coefficients
of each task and of the mean of all tasks are there too, with their covariance. A two-step file holds its
draws, because resampling runs and refitting takes a minute. `name` among the bundled ones, a path
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.rulers.loss_law import LossLaw
from sparsity_lab.fitting.density.rulers.one_step import COEFFICIENTS, FEWEST_SIZES, OneStepRuler
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerPoint
from sparsity_lab.fitting.density.rulers.sigmoid import ScoreSigmoid
from sparsity_lab.fitting.density.rulers.two_step import TwoStepCurve, TwoStepRuler
from sparsity_lab.fitting.density.scores.metrics import TaskSetting
from sparsity_lab.laws._law import Array
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.store import bundled
from sparsity_lab.store.records import write_json

MAKE_ONE = "Make one with `sparsity-lab density ruler`"
FORMAT = "sparsity-lab ruler 1"
PREFIX = "ruler_"
DIGITS = 6
_SHARED = ("name", "size_unit", "params", "harness", "source", "seed", "draws")
_LOSS = ("ln_a", "ln_b", "alpha", "beta", "e")


def shipped() -> dict[str, Path]:
    """The rulers carried in the package, by name."""
    paths = sorted(bundled.FOLDER.glob(f"{PREFIX}*.json"))
    return {path.stem.removeprefix(PREFIX).replace("_", "-"): path for path in paths}


def write_ruler(ruler: Ruler, path: Path) -> Path:
    """Write a ruler's file, whole or not at all."""
    shared = {key: getattr(ruler, key) for key in _SHARED}
    head = {"format": FORMAT, "form": ruler.form, **shared, "sizes": list(ruler.sizes)}
    head |= {"settings": {task: vars(setting) for task, setting in ruler.settings.items()}}
    head |= {"notes": list(ruler.notes)}
    if isinstance(ruler, TwoStepRuler):
        body: dict[str, object] = {
            "d0_tokens": ruler.d0_tokens,
            "runs": list(ruler.runs),
            "tasks": {task: _two_step_json(ruler, task) for task in ruler.tasks},
        }
    else:
        assert isinstance(ruler, OneStepRuler)
        groups = [(task,) for task in ruler.tasks] + ([ruler.tasks] if len(ruler.tasks) > 1 else [])
        body = {
            "tasks": {" + ".join(group): _one_step_json(ruler, group) for group in groups},
            "points": [_point_json(point) for point in ruler.points],
        }
    write_json(path, {**head, **body})
    return path


def read_ruler(path: Path) -> Ruler:
    """Read a ruler's file.

    Raises:
        SparsityLabError: unreadable, or not a ruler.
    """
    document = read_json(path, kind="ruler", fix=MAKE_ONE)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SparsityLabError(
            f"{path} is not a ruler of this version", why=f"Its format is not {FORMAT!r}",
            fix=MAKE_ONE,
        )  # fmt: skip
    try:
        shared = {key: document[key] for key in _SHARED} | {
            "sizes": (document["sizes"][0], document["sizes"][1])
        }
        settings = {task: TaskSetting(**setting) for task, setting in document.get("settings", {}).items()}
        shared |= {"settings": settings, "notes": tuple(map(str, document.get("notes", [])))}
        return {"two-step": _two_step, "one-step": _one_step}[document["form"]](document, shared)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SparsityLabError(
            f"The ruler {path} is damaged", why=f"{type(error).__name__}: {error}", fix=MAKE_ONE
        ) from error


def _one_step(document: dict[str, Any], shared: dict[str, Any]) -> OneStepRuler:
    points = tuple(
        RulerPoint(p["model"], float(p["size"]), dict(p["scores"]), str(p.get("identity", "")))
        for p in document["points"]
    )
    tasks = tuple(name for name in document["tasks"] if " + " not in name)
    if len({point.size for point in points}) < FEWEST_SIZES:
        raise ValueError(f"it has fewer than {FEWEST_SIZES} sizes")
    chances = {task: float(document["tasks"][task]["floor"]) for task in tasks}
    return OneStepRuler(**shared, tasks=tasks, points=points, chances=chances)


def _point_json(point: RulerPoint) -> dict[str, object]:
    identity = {"identity": point.identity} if point.identity else {}
    return {"model": point.model, "size": point.size, "scores": dict(point.scores), **identity}


def _two_step(document: dict[str, Any], shared: dict[str, Any]) -> TwoStepRuler:
    curves = {task: _two_step_curve(body, document["d0_tokens"]) for task, body in document["tasks"].items()}
    units = {task: body["loss_unit"] for task, body in document["tasks"].items()}
    return TwoStepRuler(
        **shared, tasks=tuple(curves), curves=curves, loss_units=units, d0_tokens=document["d0_tokens"],
        runs=tuple(map(str, document.get("runs", []))),
    )  # fmt: skip


def _one_step_json(ruler: OneStepRuler, tasks: Sequence[str]) -> dict[str, object]:
    curve = ruler.curve(tasks)
    coefficients = np.stack([getattr(curve, name) for name in COEFFICIENTS[1:]])
    return {
        "formula": "S = floor + span / (1 + exp(-gamma (ln size - middle)))",
        "floor": curve.chance,
        "coefficients": dict(zip(COEFFICIENTS[1:], map(float, coefficients[:, 0]), strict=True)),
        "covariance": [[float(v) for v in row] for row in np.cov(coefficients[:, 1:])],
        "residual_sd": ruler.residual_sd[tuple(sorted(tasks))],
        "points": len(ruler.points),
    }


def _two_step_json(ruler: TwoStepRuler, task: str) -> dict[str, object]:
    curve = ruler.curves[task]
    arrays: dict[str, Array] = {key: getattr(curve.loss, key) for key in _LOSS}
    arrays |= {key: getattr(curve.scores, key) for key in COEFFICIENTS} | {"form_error": curve.form_error}
    return {
        "formula": "L = exp(ln_a) N^-alpha + exp(ln_b) D^-beta + e; "
        "S = floor + span / (1 + exp(-gamma (-L - middle))); "
        "beyond ln_largest, S gains form_error per unit of ln N",
        "ceiling_held_at_1": curve.ceiling_held,
        "loss_unit": ruler.loss_units[task],
        "ln_largest": curve.ln_largest,
        "coefficients": {key: _rounded(values[0]) for key, values in arrays.items()},
        "draws": {key: [_rounded(v) for v in values[1:]] for key, values in arrays.items()},
    }


def _two_step_curve(body: dict[str, Any], d0_tokens: float) -> TwoStepCurve:
    def array(key: str) -> Array:
        return np.array([body["coefficients"][key], *body["draws"][key]], dtype=float)

    return TwoStepCurve(
        loss=LossLaw(*(array(key) for key in _LOSS)),
        scores=ScoreSigmoid(*map(array, COEFFICIENTS)),
        form_error=array("form_error"),
        ln_largest=float(body["ln_largest"]),
        tokens=d0_tokens,
        ceiling_held=bool(body["ceiling_held_at_1"]),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
