"""Locks as files: `results/<study>/locks/<series>.toml`.

They hold the input's hash, how it is fitted, predictions at probe points with their standard errors, coefficients with
theirs and their intervals, the verdict, tolerances and the reason they were agreed to. Locks of format 1, which were of
two kinds for one and for several inputs, are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.locks.lock import Lock, LockedNumber, Probe
from sparsity_lab.fitting.locks.toml import (
    INCOMPLETE,
    LOCK_ANEW,
    counted,
    optional,
    tolerance_in,
    toml_key,
    toml_value,
    typed,
)
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.reading.toml_file import read_toml
from sparsity_lab.settings import BOOTSTRAP, DELTA, EVEN
from sparsity_lab.store.records import write_text

FORMAT = 2
UNNAMED_RIVALS = (
    "power",
    "logspace-power",
    "sigmoid",
    "logarithmic",
    "constant",
)  # of a lock that names none
READ = (1, 2)


def write(lock: Lock, path: Path) -> None:
    """Write a lock, whole or not at all."""
    write_text(path, to_toml(lock))


def read(path: Path) -> Lock:
    """Read a lock.

    Raises:
        SparsityLabError: it cannot be read, or lacks a key.
    """
    raw = read_toml(path, kind="lock", fix=LOCK_ANEW)
    try:
        return _from_raw(raw)
    except (*INCOMPLETE, SparsityLabError) as error:
        why = error.paragraph() if isinstance(error, SparsityLabError) else f"{type(error).__name__}: {error}"
        raise SparsityLabError(f"The lock {path} is not complete", why=why[:400], fix=LOCK_ANEW) from error


def to_toml(lock: Lock) -> str:
    """The text of a lock."""
    spec = lock.spec
    rivals = spec.rival_names(max(len(lock.columns.x), 1))
    unnamed = (lock.law,) if lock.columns.several else UNNAMED_RIVALS
    lines = [
        "# A locked fit: `sparsity-lab check` refits its input and compares. Change it with",
        "# `sparsity-lab check --update --reason ...`, or edit a tolerance together with its reason.",
        *_pairs(
            format=FORMAT, series=lock.series, law=lock.law, verdict=lock.verdict, reason=lock.reason,
            bound=lock.bound, weighted=spec.weighted, robust=spec.robust or None, log=spec.log or None,
            noise_model=None if spec.noise == EVEN else spec.noise,
            delta=spec.delta if spec.robust else None, seed=spec.seed, draws=spec.draws,
            rivals=None if rivals == unnamed else list(rivals),
        ),
        *_section(
            "input", table=lock.table, points_sha256=lock.points_sha256, se_sha256=lock.se_sha256 or None,
            pinned=lock.pinned, points=lock.points, dropped_points=lock.dropped_points,
            last_x=_known(lock.last_x), **{key: value for key, value in asdict(lock.columns).items() if value},
        ),
        *_section("noise", noise_sd=lock.noise_sd, freedom=lock.freedom, inflation=lock.inflation,
                  noise_power=lock.noise_power or None, weight_unit=_known(lock.weight_unit)),
        *_section("written", sse=lock.sse, limit=lock.limit),
        *_section("prediction_tolerance", **asdict(lock.prediction_tolerance)),
        *_section("coefficient_tolerance", **asdict(lock.coefficient_tolerance)),
    ]  # fmt: skip
    for kind, numbers in (("coefficients", lock.coefficients), ("derived", lock.derived)):
        for name, number in numbers.items():
            lines += _section(f"{kind}.{toml_key(name)}", **asdict(number))
    for probe in lock.probes:
        x = probe.x[0] if len(probe.x) == 1 else list(probe.x)
        lines += ["", "[[probes]]", *_pairs(x=x, y=probe.y, se=probe.se)]
    return "\n".join(lines) + "\n"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _section(title: str, **values: Any) -> list[str]:
    return ["", f"[{title}]", *_pairs(**values)]


def _pairs(**values: Any) -> list[str]:
    """Keys with their values; None is left out."""
    return [f"{key} = {toml_value(value)}" for key, value in values.items() if value is not None]


def _from_raw(raw: dict[str, Any]) -> Lock:
    if raw["format"] not in READ:
        raise ValueError(f"format {raw['format']}, this version reads {' and '.join(map(str, READ))}")
    given, noise, written = raw["input"], raw.get("noise", {}), raw.get("written", {})
    if not str(raw["reason"]).strip():
        raise ValueError("the reason is empty")
    columns = _columns(given)
    return Lock(
        **{key: typed(raw, key, str) for key in ("series", "law", "verdict", "reason")},
        spec=_spec(raw, columns),
        **{key: typed(given, key, str) for key in ("table", "points_sha256")},
        points=counted(given, "points"),
        probes=tuple(_probe(each) for each in raw["probes"]),
        coefficients=_numbers(raw["coefficients"]),
        derived=_numbers(raw.get("derived", {})),
        prediction_tolerance=tolerance_in(raw, "prediction_tolerance"),
        coefficient_tolerance=tolerance_in(raw, "coefficient_tolerance"),
        columns=columns,
        pinned=optional(given, "pinned", bool, True),
        dropped_points=counted(given, "dropped_points") if "dropped_points" in given else 0,
        last_x=optional(given, "last_x", float, math.nan),
        noise_sd=optional(noise, "noise_sd", float, math.nan),
        freedom=counted(noise, "freedom") if noise else 1,
        inflation=optional(noise, "inflation", float, 1.0),
        noise_power=optional(noise, "noise_power", float, 0.0),
        weight_unit=optional(noise, "weight_unit", float, math.nan),
        se_sha256=optional(given, "se_sha256", str, ""),
        bound=optional(raw, "bound", str),
        sse=optional(written, "sse", float, math.nan),
        limit=optional(written, "limit", float, math.nan),
        says_all=raw["format"] > 1,
    )  # fmt: skip


def _spec(raw: Mapping[str, Any], columns: Columns) -> FitSpec:
    """How a locked fit is fitted; several inputs of format 1 say `huber`."""
    usual = () if columns.several else UNNAMED_RIVALS
    robust = optional(raw, "robust", bool, False) or optional(raw, "huber", bool, False)
    return FitSpec(
        law=typed(raw, "law", str),
        rivals=tuple(map(str, typed(raw, "rivals", list))) if "rivals" in raw else usual,
        weighted=optional(raw, "weighted", bool, False),
        robust=robust,
        delta=optional(raw, "delta", float, DELTA),
        log=optional(raw, "log", bool, False),
        noise=optional(raw, "noise_model", str, EVEN),
        draws=counted(raw, "draws") if "draws" in raw else BOOTSTRAP,
        seed=counted(raw, "seed"),
    )


def _columns(given: Mapping[str, Any]) -> Columns:
    x = given.get("x", [])
    if not isinstance(x, list):
        x = [typed(given, "x", str)]
    named = {key: optional(given, key, str) for key in ("y", "group", "se", "exclude", "by", "holdout")}
    return Columns(tuple(map(str, x)), unit=tuple(map(str, optional(given, "unit", list, []))), **named)


def _numbers(raw: Mapping[str, Any]) -> dict[str, LockedNumber]:
    return {
        name: LockedNumber(
            typed(each, "value", float), typed(each, "se", float),
            optional(each, "low", float), optional(each, "high", float),
        )
        for name, each in raw.items()
    }  # fmt: skip


def _probe(raw: Mapping[str, Any]) -> Probe:
    x = raw["x"]
    places = tuple(map(float, x)) if isinstance(x, list) else (typed(raw, "x", float),)
    return Probe(places, typed(raw, "y", float), typed(raw, "se", float))
