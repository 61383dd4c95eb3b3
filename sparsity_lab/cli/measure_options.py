"""The options of `sparsity-lab measure`: what their words mean, and which of them do nothing together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sparsity_lab import ranges
from sparsity_lab.cli.console.options import fill, given
from sparsity_lab.cli.shared_options import (
    DATASET_FORM,
    CheckpointOptions,
    LaunchOptions,
    Log,
    Output,
    TextOptions,
)
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import CRITERION, PPL_INCREASE, TEXT, TOKENS, WHAT, Flag, MeasureSettings

if TYPE_CHECKING:
    from sparsity_lab.measure.spec import MeasureSpec

ALL = "all"
NOTHING_BESIDE = (
    ("ppl_increase", "knob"), ("activation_ratio", "knob"), ("ppl_increase", "activation_ratio"),
    ("ppl_increase", "thresholds"), ("thresholds", "criterion_all"), ("transfer", "criterion_all"),
    ("transfer_dataset", "criterion_all"),
)  # fmt: skip
NOTHING_WITHOUT = (("per_checkpoint", "stabilise"), ("sweep", "criterion_all"))


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(MeasureSettings, LaunchOptions, CheckpointOptions, TextOptions):
    """The options of `sparsity-lab measure`."""

    criterion: Annotated[
        str | None,
        Flag("Rule for which neurons count as weak (see `ls criteria`), or all.", WHAT, shown=CRITERION),
    ] = None
    knob: Annotated[
        tuple[float, ...],
        Flag("Fix the criterion's parameter, such as the CETT, at this value. Repeatable.", WHAT),
    ] = ()
    ppl_increase: Annotated[
        tuple[str, ...],
        Flag(
            "Find the knob at this rise of perplexity, p of PPL-p%: 1% or 0.01. Repeatable.",
            WHAT,
            shown=f"{PPL_INCREASE:.0%}",
        ),
    ] = ()
    activation_ratio: Annotated[
        tuple[str, ...], Flag("Keep this share of the neurons: 30% or 0.3. Repeatable.", WHAT)
    ] = ()
    transfer: Annotated[
        tuple[str, ...],
        Flag(
            "A further text; thresholds are calibrated on each text and applied to all. Repeatable.",
            TEXT,
            metavar="[NAME=]FILE",
        ),
    ] = ()
    transfer_dataset: Annotated[
        tuple[str, ...],
        Flag(
            "As --transfer, a dataset. Repeatable.",
            TEXT,
            metavar=f"[NAME=]{DATASET_FORM}",
        ),
    ] = ()
    stabilise: Annotated[
        str | None, Flag("Find one knob on the last N checkpoints of each series.", WHAT, metavar="last:N")
    ] = None
    per_checkpoint: Annotated[
        bool, Flag("With --stabilise, also measure each checkpoint at its own knob.", WHAT)
    ] = False
    sweep: Annotated[
        bool, Flag("With --criterion all, also measure perplexity along each criterion's range.", WHAT)
    ] = False
    tokens: Annotated[
        str,
        Flag(
            "Tokens to measure on; auto:10% adds text until the standard error of the loss rise is 10 % of it.",
            TEXT,
            metavar="INTEGER|auto[:SHARE]",
        ),
    ] = str(TOKENS)
    log: Log = ()
    output: Output = Path("runs/measure")

    def spec(self) -> MeasureSpec:
        """What to measure.

        Raises:
            SparsityLabError: an option that is not understood.
        """
        from sparsity_lab.measure.spec import MeasureSpec, percent

        ratios = tuple(map(percent, self.activation_ratio))
        increases = tuple(map(percent, self.ppl_increase)) or (PPL_INCREASE,)
        tokens, error_share = tokens_of(self.tokens)
        return fill(
            MeasureSpec, self, text=self.place_or_bundled(), criterion=self._criterion(),
            knob=next(iter(self.knob), None), activation_ratio=next(iter(ratios), None), ppl_increase=increases[0],
            further=(self.knob or ratios or increases)[1:], stabilise_last=last_of(self.stabilise), tokens=tokens,
            error_share=error_share,
        )  # fmt: skip

    def refuse_idle(self) -> None:
        """Refuse options that would do nothing together with the others, rather than ignore them.

        Raises:
            SparsityLabError: there is one.
        """
        names = given(self) | ({"criterion_all"} if self.criterion == ALL else set())
        idle = [(name, "with", other) for name, other in NOTHING_BESIDE if {name, other} <= names]
        idle += [
            (name, "without", other)
            for name, other in NOTHING_WITHOUT
            if name in names and other not in names
        ]
        for name, word, other in idle:
            raise SparsityLabError(
                f"{_option(name)} does nothing {word} {_option(other)}",
                fix="Leave one of them out, or give what it needs",
            )

    def _criterion(self) -> str:
        """The criterion named, or that of the thresholds, or the usual one."""
        if self.criterion == ALL or (self.criterion is None and self.thresholds is None):
            return CRITERION
        if self.criterion is not None or self.thresholds is None:
            return str(self.criterion)
        from sparsity_lab.measure.thresholds.stored import read_calibration

        return read_calibration(self.thresholds).criterion


def _option(name: str) -> str:
    return "--criterion all" if name == "criterion_all" else f"--{name.replace('_', '-')}"


def last_of(stabilise: str | None) -> int | None:
    """Checkpoints at the end of a series that one knob is found on: last:5."""
    if stabilise is None:
        return None
    word, _, count = stabilise.partition(":")
    if word != "last" or not count.isdecimal() or not count.strip("0"):
        raise SparsityLabError(f"--stabilise {stabilise} is not understood", fix="Write last:5")
    return ranges.whole("stabilise_last", count)


_COUNT = re.compile(r"(\d+(?:\.\d*)?)\s*([km])", re.IGNORECASE)
_THOUSANDS = {"k": 1e3, "m": 1e6}


def tokens_of(text: str) -> tuple[int, float | None]:
    """Tokens, and the share of the rise its error may have where the text is to grow."""
    from sparsity_lab.measure.spec import percent
    from sparsity_lab.measure.work.text_length import ERROR_SHARE, START_TOKENS

    word, colon, share = text.partition(":")
    if word == "auto":
        return START_TOKENS, percent(share) if colon else ERROR_SHARE
    if not text.isdecimal():
        count = _COUNT.fullmatch(text)
        meant = "auto:10%" if count is None else f"{float(count[1]) * _THOUSANDS[count[2].lower()]:.0f}"
        raise SparsityLabError(f"--tokens {text} is neither a whole number nor auto", fix=f"Write {meant}")
    return ranges.whole("tokens", text), None
