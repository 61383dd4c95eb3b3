"""What an estimate assumes, and what is timed; numbers nothing could be computed with are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import SHAPES, CostSettings, TimingSettings

LEAST_BYTES, LARGEST_BYTES = 1 / 16, 16.0
MOST_CONTEXT = 10**9
MOST_WEIGHTS = 2**30  # of a shape to be timed: more than any model's
LEAST_PAIRS = 6  # with fewer no 95 % interval of a median exists


@dataclass(frozen=True)
class Costs(CostSettings):
    """What reading costs; see `CostSettings`."""

    def check(self) -> None:
        """Refuse costs that nothing has.

        Raises:
            SparsityLabError: one of them is out of its range.
        """
        for name, value in (("weight", self.bytes_per_weight), ("kv", self.bytes_per_kv)):
            if not (math.isfinite(value) and LEAST_BYTES <= value <= LARGEST_BYTES):
                raise SparsityLabError(
                    f"--bytes-per-{name} is {value}, not a number from {LEAST_BYTES:g} to {LARGEST_BYTES:g}",
                    fix="Write 4 for float32, 2 for bfloat16, 1 for 8 bits, 0.5 for 4 bits",
                )
        if not 0 <= self.context_tokens <= MOST_CONTEXT:
            raise SparsityLabError(
                f"--context is {_short(self.context_tokens)} tokens", fix=f"Write 0 to {MOST_CONTEXT}"
            )
        if self.predictor_cost is not None and not 0 <= self.predictor_cost < 1:
            raise SparsityLabError(
                f"--predictor-cost is {self.predictor_cost}, not a share of the FFN's weights from 0 to below 1",
                why="A predictor as large as the FFN cannot spare anything",
                fix="Write 0.04 for a predictor of 4 % of the FFN's weights",
            )


@dataclass(frozen=True)
class TimingPlan(TimingSettings):
    """What is timed.

    Attributes:
        tokens: tokens of the text whose activations are multiplied.
        written_tokens: tokens of one timed run of decoding.
        prompt_tokens: tokens in the KV cache before them.
        shapes: further (F, d), with planted masks.
    The others are those of `TimingSettings`.
    """

    tokens: int = 32
    written_tokens: int = 16
    prompt_tokens: int = 32
    shapes: tuple[tuple[int, int], ...] = SHAPES

    def check(self) -> None:
        """Refuse plans that give no number.

        Raises:
            SparsityLabError: one of them is out of its range.
        """
        least = {"pairs": LEAST_PAIRS, "tokens": 1, "written_tokens": 1, "prompt_tokens": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise SparsityLabError(
                    f"{name.replace('_', ' ')}: {getattr(self, name)} to be timed",
                    why=f"At least {lowest} are needed for a number with an interval",
                    fix=f"Write --{name} {lowest} or more"
                    if name == "pairs"
                    else f"Set {name} of the plan to {lowest} or more",
                )
        for F, d in self.shapes:
            if F < 1 or d < 1:
                raise SparsityLabError(
                    f"--shape {F}x{d} has no weights", fix="Write --shape FxD, as 1536x576"
                )
            if F * d > MOST_WEIGHTS:
                raise SparsityLabError(
                    f"--shape {F}x{d} has {F * d:.3g} weights, more than {MOST_WEIGHTS:.3g}",
                    fix="Write that of a model's own W_d, as 8192x2048",
                )
        ranges.check("seed", self.seed)
        for ratio in self.ratios:
            if not 0 < ratio <= 1:
                raise SparsityLabError(
                    f"--ratio is {ratio}, not an activation ratio above 0 and up to 1",
                    fix="Write 0.1 for 10 %",
                )


def shape_of_words(words: str) -> tuple[int, int]:
    """(F, d) of `1536x576`.

    Raises:
        SparsityLabError: not of this form.
    """
    parts = words.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise SparsityLabError(
            f"--shape {words[:40]} is not understood", fix="Write --shape FxD, as 1536x576"
        )
    return int(parts[0]), int(parts[1])


def _short(number: int) -> str:
    """A number as one reads it, however long."""
    return str(number) if abs(number) < 10**18 else f"a number of {number.bit_length()} bits"
