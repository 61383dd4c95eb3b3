"""What one measurement yields: counts of the dense and the sparse run, and how sure the numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsity_lab.measure.search.counts import Counts, DenseSums, Floats, Ints
from sparsity_lab.store.results import Shown, Table, plain
from sparsity_lab.store.table_columns.measured import TABLE
from sparsity_lab.store.tables import Row, interval, number

KNOB, KNOB_FOUND, THRESHOLDS = "this knob", "the knob found", "these thresholds"  # what errors are at

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """One sparse run at one knob.

    Attributes:
        x: coordinate of the knob on which the search runs.
        knob: the knob.
        rise_nats: L_sparse - L_dense over the windows of the run.
        activation_ratio: counted in this run.
        counts: its counts.
        thresholds: those it ran under, per layer, or None for rules without.
    """

    x: float
    knob: float
    rise_nats: float
    activation_ratio: float
    counts: Counts
    thresholds: list[float] | None


@dataclass(frozen=True)
class Errors:
    """Standard errors of one measurement.

    Attributes:
        activation_ratio: of the ratio; at PPL-p% the noise of the knob found is in it.
        loss_delta_nats: of L_sparse - L_dense, paired over windows.
        knob: of the knob found, its 95 % interval; None at a fixed knob.
        t: half a 95 % interval in standard errors.
        units: how many parts of the text they come from.
        held: what is held while the text varies: `KNOB_FOUND`, `KNOB` or `THRESHOLDS`.
        ratio_components: of the activation ratio's error; see `noise.Replicates.components`.
        rise_components: of the loss rise's, nats.
        ratio_slope: d activation ratio / dx at the knob, x its coordinate; None where it is not known.
        stop_nats: the error of the loss rise that decided where the search stopped.
    """

    activation_ratio: float
    loss_delta_nats: float
    knob: tuple[float, float] | None
    t: float
    units: int
    held: str
    ratio_components: Floats
    rise_components: Floats
    ratio_slope: float | None
    stop_nats: float


@dataclass(frozen=True, repr=False)
class Measurement(Shown):
    """The result of one measurement.

    Attributes:
        criterion: id of the criterion.
        knob: where the activation ratio was counted.
        ppl_increase_target: p, or None at a fixed knob.
        thresholds: on the score, per layer, or None for rules without.
        dense: counts of the dense run.
        sparse: counts of the sparse run at `knob`.
        sums: what the dense run summed in addition.
        sizes: F of each layer, int64 [layers].
        errors: standard errors.
        flags: findings, each a word.
        searched: every evaluation of the search, pilot first.
        forward_passes: tokens passed through the model over tokens of the text.
        score_weights: [F] of each layer, where a weight of the criterion's score was measured on the text.
    """

    criterion: str
    knob: float
    ppl_increase_target: float | None
    thresholds: list[float] | None
    dense: Counts
    sparse: Counts
    sums: DenseSums
    sizes: Ints
    errors: Errors
    flags: tuple[str, ...]
    searched: tuple[Evaluation, ...]
    forward_passes: float
    score_weights: tuple[Tensor, ...] | None = None

    @property
    def activation_ratio(self) -> float:
        """1 - |D|/F over valid tokens and layers, counted in the sparse run."""
        return self.sparse.activation_ratio(self.sizes)

    @property
    def spread(self) -> Errors:
        """The errors, by the name they had before samples were spread."""
        return self.errors

    @property
    def activation_ratio_interval(self) -> tuple[float, float]:
        """95 % interval of the activation ratio."""
        half = self.errors.t * self.errors.activation_ratio
        return max(0.0, self.activation_ratio - half), min(1.0, self.activation_ratio + half)

    @property
    def loss_delta_nats(self) -> float:
        """L_sparse - L_dense."""
        return self.sparse.mean_loss_nats() - self.dense.mean_loss_nats()

    @property
    def ppl_ratio(self) -> float:
        """Perplexity of the sparse run over that of the dense run."""
        return math.exp(self.loss_delta_nats)

    @property
    def nonzero_ratio(self) -> float:
        """Share of exactly non-zero activations of the dense run."""
        return float(self.sums.nonzero.sum() / (self.dense.reached.sum(axis=0) @ self.sizes))

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers under the keys of a record."""
        dense, sparse, errors = self.dense, self.sparse, self.errors
        return {
            "criterion": self.criterion,
            "knob": self.knob,
            "knob_interval": None if errors.knob is None else list(errors.knob),
            "activation_ratio": self.activation_ratio,
            "activation_ratio_se": errors.activation_ratio,
            "activation_ratio_interval": list(self.activation_ratio_interval),
            "activation_ratio_per_layer": sparse.ratio_per_layer(self.sizes).tolist(),
            "activated_share": sparse.activated_share(self.sizes),
            "thresholds": self.thresholds,
            "loss_dense_nats": dense.mean_loss_nats(),
            "loss_sparse_nats": sparse.mean_loss_nats(),
            "ppl_dense": math.exp(dense.mean_loss_nats()),
            "ppl_sparse": math.exp(sparse.mean_loss_nats()),
            "ppl_ratio": self.ppl_ratio,
            "loss_delta_se_nats": errors.loss_delta_nats,
            "activation_ratio_components": errors.ratio_components.tolist(),
            "loss_delta_components_nats": errors.rise_components.tolist(),
            "activation_ratio_slope": errors.ratio_slope,
            "activation_ratio_se_with_knob": None,
            "activation_ratio_components_with_knob": None,
            "stop_error_nats": errors.stop_nats,
            "error_units": errors.units,
            "errors_at": errors.held,
            "flags": list(self.flags),
            "search": [[e.knob, e.rise_nats, int(e.counts.seen.sum())] for e in self.searched],
            "forward_passes": self.forward_passes,
            "zero_output_tokens": self.sums.zero_outputs.sum(axis=0).tolist(),
            "nonzero_ratio": self.nonzero_ratio,
        }

    def to_dict(self) -> dict[str, Any]:
        """The numbers under the keys of a record (`record_keys.RECORD_KEYS`), as far as one measurement knows them."""
        known = {"ppl_increase_target": self.ppl_increase_target, "tokens": int(self.dense.seen.sum())}
        return plain({**self.numbers, **known})

    def _flat(self) -> dict[str, Any]:
        """What of it has a column in the table of `measure`, as that table writes it."""
        known = {**self.to_dict(), "flags": " ".join(self.flags)}
        return {key: known[key] for key in TABLE.header if key in known}

    def _rows(self) -> list[Row]:
        return [self._flat()]

    def _title(self) -> str:
        ratio = interval(self.activation_ratio, *self.activation_ratio_interval)
        return f"Activation ratio {ratio} by {self.criterion} at {number(self.knob)}, PPL ratio {self.ppl_ratio:.5f}"

    def _table(self) -> Table:
        known = {key: value for key, value in self._flat().items() if value not in (None, "")}
        shown = [column for column in TABLE.for_readers() if column.key in known]
        rows = [{"number": column.heading, "value": known[column.key]} for column in shown]
        return rows, {"number": "number", "value": "value"}
