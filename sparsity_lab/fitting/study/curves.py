"""Reads the tables of `sparsity-lab measure` into curves: one run under one rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.rows import kind_of
from sparsity_lab.fitting.data.text_parts import NO_PARTS, TextParts
from sparsity_lab.laws._law import Array
from sparsity_lab.reading.csv_file import MEASURED, read_csv
from sparsity_lab.store.error_parts import ErrorParts

SERIES, OWN, FIXED = "series", "ppl-increase", "fixed"
NUMBERS = (
    "trained_tokens", "activation_ratio", "knob", "loss_dense_nats", "ppl_ratio", "params_nonembedding",
    "hidden_size", "layers",
)  # fmt: skip
MAY_BE_ZERO = ("activation_ratio", "knob")
MEASURE_ANEW = "Run the study again with --only measure, which writes the table again"


@dataclass(frozen=True)
class Between:
    """A ratio between two checkpoints.

    Attributes:
        ratio: its value. se: its standard error (0 where unknown).
        text: parts of the error, shape (1, parts).
    """

    ratio: float
    se: float
    text: TextParts


@dataclass(frozen=True)
class RunCurve:
    """One run under one rule; arrays of shape (checkpoints,), in order of tokens.

    Attributes:
        run: its name. activation: relu, silu, ...; `-plain` behind it where the network has no gate.
        rule: `series`, `ppl-increase` or `fixed-C` with the CETT C.
        parameters: without embeddings. hidden_size, layers: d and L.
        tokens: trained. ratio, se: activation ratio and its standard error (0 where unknown).
        knob: of each checkpoint. loss_nats: dense, on the text measured on. ppl_ratio: sparse over dense.
        text: what the text does to all ratios together; its parts are in common to all curves.
    """

    run: str
    activation: str
    rule: str
    parameters: float
    hidden_size: int
    layers: int
    tokens: Array
    ratio: Array
    se: Array
    knob: Array
    loss_nats: Array
    ppl_ratio: Array
    text: TextParts = NO_PARTS

    @property
    def width_depth_ratio(self) -> float:
        """d / L."""
        return self.hidden_size / self.layers

    @property
    def tokens_per_parameter(self) -> Array:
        """Tokens over non-embedding parameters."""
        return np.asarray(self.tokens / self.parameters)

    @property
    def shape(self) -> tuple[int, int, float]:
        """What runs that differ in their activation alone have in common."""
        return self.hidden_size, self.layers, self.parameters

    def at_tokens(self, tokens: float) -> Between | None:
        """The ratio, linear in ln tokens between checkpoints; None outside their range."""
        return self._between(np.log(self.tokens), math.log(tokens))

    def at_loss(self, loss_nats: float) -> Between | None:
        """The ratio, linear in the dense loss between checkpoints; None outside their range."""
        return self._between(self.loss_nats, loss_nats)

    def _between(self, x: Array, at: float) -> Between | None:
        """The ratio between points, with a last digit's slack.

        Where the errors' parts are not known, those of neighbors are taken as fully correlated, the larger bound.
        """
        order = np.argsort(x, kind="stable")
        x = x[order]
        slack = 1e-9 * max(abs(float(x[0])), abs(float(x[-1])), 1.0)
        if not x[0] - slack <= at <= x[-1] + slack:
            return None
        ratio, se = (float(np.interp(at, x, y[order])) for y in (self.ratio, self.se))
        if self.text.parts is None:
            return Between(ratio, se, NO_PARTS)
        parts = np.array([np.interp(at, x, part) for part in self.text.parts[order].T])
        return Between(ratio, float(np.sqrt(parts @ parts)), TextParts(parts[None], self.text.freedom))


def rule_words(rule: str, *, ppl_increase: float = 0.01, perplexity: str = "perplexity") -> str:
    """A rule as a reader knows it; `perplexity` is what that is called."""
    if rule == SERIES:
        return "one CETT for the series"
    if rule == OWN:
        return f"own CETT at +{100 * ppl_increase:g} % {perplexity}"
    return f"CETT fixed at {rule.removeprefix(FIXED + '-')}"


def read_curves(tables: Sequence[Path]) -> list[RunCurve]:
    """Curves of all tables, in their order: rule by rule within a run.

    Raises:
        SparsityLabError: a table cannot be read, lacks a column, or has a number that is none; the row is named.
    """
    parts = ErrorParts.beside(tables)
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for path in tables:
        for row in _rows(path):
            groups.setdefault((row["series"], _rule(row)), []).append(row)
    return [_curve(run, rule, rows, parts) for (run, rule), rows in groups.items()]


def _rows(path: Path) -> list[dict[str, str]]:
    header, rows = read_csv(path, fix=MEASURE_ANEW)
    wanted = ("series", "rule", "activation_function", *NUMBERS)
    if missing := [name for name in wanted if name not in header]:
        raise SparsityLabError(
            f"{path}: row 1 has no column {missing[0]!r}",
            why="It is not a table of `sparsity-lab measure`",
            fix=MEASURE_ANEW,
        )
    for line, row in rows:
        for name in NUMBERS:
            if not _sound(row[name], zero=name in MAY_BE_ZERO):
                raise SparsityLabError(
                    f"{path}: row {line}, column {name!r}: {row[name]!r}",
                    why="That is not a number, or none that is possible there",
                    fix=MEASURE_ANEW,
                )
    return [row for _, row in rows]


def _sound(text: str, *, zero: bool) -> bool:
    try:
        return 0 < float(text) < math.inf or (zero and float(text) == 0)
    except (TypeError, ValueError):
        return False


def _rule(row: dict[str, str]) -> str:
    return f"{FIXED}-{float(row['knob']):g}" if row["rule"] == FIXED else row["rule"]


def _curve(run: str, rule: str, rows: list[dict[str, str]], parts: ErrorParts) -> RunCurve:
    rows = sorted(rows, key=lambda row: float(row["trained_tokens"]))
    column = {name: np.array([float(row[name]) for row in rows]) for name in NUMBERS}
    first = rows[0]
    plain = "-plain" if first.get("gated") == "false" else ""
    return RunCurve(
        run=run,
        activation=(kind_of(first) or "unknown") + plain,
        rule=rule,
        parameters=float(column["params_nonembedding"][0]),
        hidden_size=int(column["hidden_size"][0]),
        layers=int(column["layers"][0]),
        tokens=column["trained_tokens"],
        ratio=column["activation_ratio"],
        se=np.array([float(row.get("activation_ratio_se") or 0.0) for row in rows]),
        knob=column["knob"],
        loss_nats=column["loss_dense_nats"],
        ppl_ratio=column["ppl_ratio"],
        text=TextParts(parts.of([row.get(MEASURED) or "" for row in rows]), parts.freedom),
    )
