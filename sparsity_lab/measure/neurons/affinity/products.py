"""y = W_d a of single tokens, dense against `sparse_down`, checked before it is timed.

Dense is torch's linear on the weights as the model has them; sparse reads them as `neuron_major` lays them. Both get
activations in which inactive neurons are zero: deciding who is active is not timed here but in `decode`. Planted
products take turns over several copies of the weights, as decoding does over layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.sparse_down import neuron_major, sparse_down
from sparsity_lab.measure.neurons.affinity.pairs import paired

WORKING_SET_BYTES = 32 * 2**20  # of planted weights in turn: above the caches of a core
MOST_COPIES, LEAST_PRODUCTS = 64, 8
CALLS_SIZE, CALLS_RATIO = 8, 0.5  # a product of nothing but the cost of calling
SUM_FACTOR = 4.0  # on the bound of summing in float32, as in the kernels' own checks

Row = dict[str, Any]


@dataclass(frozen=True)
class ProductWork:
    """Products to be done one after another.

    Attributes:
        activations: [F] each, zero where inactive.
        dense: W_d [d, F] of each product, as the model has it.
        sparse: the same, neuron by neuron.
    """

    activations: tuple[Tensor, ...]
    dense: tuple[Tensor, ...]
    sparse: tuple[Tensor, ...]

    @property
    def activation_ratio(self) -> float:
        """Active neurons over all."""
        active = sum(int((a != 0).sum()) for a in self.activations)
        return active / sum(a.numel() for a in self.activations)

    @property
    def weights_bytes(self) -> int:
        """Of all distinct W_d, in one layout."""
        return sum({w.data_ptr(): w.numel() * w.element_size() for w in self.dense}.values())

    def run_dense(self) -> None:
        """All products, dense."""
        for a, W_d in zip(self.activations, self.dense, strict=True):
            linear(a, W_d)

    def run_sparse(self) -> None:
        """All products, reading active columns only."""
        for a, W_d in zip(self.activations, self.sparse, strict=True):
            sparse_down(a, W_d)


def of_model(activations: Sequence[Sequence[Tensor]], weights: Sequence[Tensor]) -> ProductWork:
    """Token by token through all layers, as decoding goes.

    Args:
        activations: [F] of each layer of each token, masked.
        weights: W_d [d, F] of each layer.
    """
    laid = [neuron_major(W_d) for W_d in weights]
    return ProductWork(
        tuple(a for token in activations for a in token),
        tuple(W_d for _ in activations for W_d in weights),
        tuple(W_d for _ in activations for W_d in laid),
    )


@dataclass(frozen=True)
class Layouts:
    """Several W_d [d, F] in both layouts."""

    dense: tuple[Tensor, ...]
    sparse: tuple[Tensor, ...]


def planted(weights: Layouts, *, ratio: float, seed: int) -> ProductWork:
    """Products of random activations at a stated activation ratio, exact up to one neuron.

    Args:
        weights: taken in turn.
        ratio: active neurons over all.
        seed: of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    F, like = weights.dense[0].shape[1], weights.dense[0]
    count = max(LEAST_PRODUCTS, len(weights.dense))
    active = min(F, max(1, round(ratio * F)))
    activations = []
    for _ in range(count):
        a = torch.zeros(F)
        a[torch.randperm(F, generator=generator)[:active]] = 1 + torch.rand(active, generator=generator)
        activations.append(a.to(like))
    turns = [index % len(weights.dense) for index in range(count)]
    dense, sparse = (tuple(of[turn] for turn in turns) for of in (weights.dense, weights.sparse))
    return ProductWork(tuple(activations), dense, sparse)


def planted_weights(F: int, d: int, *, dtype: torch.dtype, device: str, seed: int) -> Layouts:
    """As many copies of a random W_d [d, F] as make up the working set."""
    size = F * d * torch.empty(0, dtype=dtype).element_size()
    copies = min(MOST_COPIES, max(1, -(-WORKING_SET_BYTES // size)))
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randn(d, F, generator=generator) / F**0.5).to(device=device, dtype=dtype)
    dense = tuple(weight.clone() for _ in range(copies))
    return Layouts(dense, tuple(neuron_major(W_d) for W_d in dense))


def calls_row(*, dtype: torch.dtype, device: str, pairs: int, seed: int) -> Row:
    """A product so small that its time is that of the calls: what others of about its time tell is overhead."""
    weights = planted_weights(CALLS_SIZE, CALLS_SIZE, dtype=dtype, device=device, seed=seed)
    work = planted(weights, ratio=CALLS_RATIO, seed=seed)
    return timed_row(work, what="calls", pairs=pairs, device=device)


def timed_row(work: ProductWork, *, what: str, pairs: int, device: str) -> Row:
    """Check, then time; a row of affinity_products.csv without identity.

    Raises:
        SparsityLabError: a product is wrong here, or nothing is active.
    """
    check(work)
    ratio = work.activation_ratio
    if ratio == 0:
        raise SparsityLabError(
            "No neuron is active on the tokens to be timed",
            why="Their product is zero and needs no time",
            fix="Name a record with more active neurons, or leave --measure out",
        )
    seconds = paired(
        lambda: nullcontext(work.run_dense), lambda: nullcontext(work.run_sparse), pairs=pairs, device=device
    )
    d, F = work.dense[0].shape
    timed = seconds.as_row(units=len(work.activations), ideal=1 / ratio)
    return {
        "what": what,
        "F": int(F),
        "d": int(d),
        "activation_ratio": ratio,
        "weights_bytes": work.weights_bytes,
        "products": len(work.activations),
        "dense_bytes_per_second": F * d * work.dense[0].element_size() / timed["dense_seconds"],
        **timed,
    }


def check(work: ProductWork) -> None:
    """Refuse products that differ from float64 ones by more than rounding explains.

    Raises:
        SparsityLabError: names the product.
    """
    for index, (a, dense, sparse) in enumerate(zip(work.activations, work.dense, work.sparse, strict=True)):
        exact = dense.double() @ a.double()
        bound = rounding_bound(a, dense, exact)
        for name, product in (("linear", linear(a, dense)), ("sparse_down", sparse_down(a, sparse))):
            if not bool(((product.double() - exact).abs() <= bound).all()):
                raise SparsityLabError(
                    f"Product {index} by {name} is wrong on {a.device}: off by "
                    f"{float((product.double() - exact).abs().max()):.3g}",
                    why="Nothing is timed that does not compute the right thing",
                    fix="See `sparsity-lab bench kernels`, which checks every kernel on this device",
                )


def rounding_bound(a: Tensor, W_d: Tensor, exact: Tensor) -> Tensor:
    """How far a product summed in float32 and stored in the dtype of a may lie from the exact one, [d]."""
    magnitude = W_d.double().abs() @ a.double().abs()
    stored = torch.finfo(a.dtype).eps * (exact.abs() + magnitude if a.dtype != torch.float32 else exact.abs())
    return SUM_FACTOR * torch.finfo(torch.float32).eps * a.numel() ** 0.5 * magnitude + stored + 1e-30


def break_even(rows: Sequence[Row]) -> Row:
    """Where planted products of one shape cross a speed-up of 1, interpolated in the logarithms.

    Args:
        rows: of `timed_row`, one shape, several activation ratios.
    """
    ordered = sorted(rows, key=lambda row: row["activation_ratio"])
    ratios = [row["activation_ratio"] for row in ordered]
    crossings = {
        name: crossing(ratios, [row[column] for row in ordered])
        for name, column in (
            ("break_even", "ratio"), ("break_even_low", "ratio_low"), ("break_even_high", "ratio_high"),
        )
    }  # fmt: skip
    if crossings["break_even"] is not None:
        verdict = f"sparse_down is faster below {crossings['break_even']:.3g}"
    elif ordered[0]["ratio"] < 1:
        verdict = f"sparse_down is slower at every ratio tried, down to {ratios[0]:.3g}"
    else:
        verdict = f"sparse_down is faster at every ratio tried, up to {ratios[-1]:.3g}"
    return {"F": ordered[0]["F"], "d": ordered[0]["d"], **crossings, "verdict": verdict}


def crossing(ratios: Sequence[float], speedups: Sequence[float]) -> float | None:
    """The first activation ratio at which a falling speed-up reaches 1; None where it does not cross.

    Args:
        ratios: increasing.
        speedups: at each.
    """
    for (x, y), (x2, y2) in pairwise(zip(ratios, speedups, strict=True)):
        if y >= 1 > y2:
            return exp(log(x) + (log(x2) - log(x)) * log(y) / (log(y) - log(y2)))
    return None
