"""What the words of `measure`'s options mean, and which of them say nothing beside one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsity_lab import ranges
from sparsity_lab.cli.measure_options import ALL
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 30  # digits of a whole number
NOTHING_BESIDE = (
    ("ppl_increase", "knob"), ("activation_ratio", "knob"), ("ppl_increase", "activation_ratio"),
    ("ppl_increase", "thresholds"), ("thresholds", "criterion_all"), ("transfer", "criterion_all"),
    ("jobs", "transfer"), ("jobs", "criterion_all"), ("launcher", "transfer"), ("launcher", "criterion_all"),
    ("text_shards", "transfer"), ("text_shards", "criterion_all"),
    ("log", "transfer"),
)  # fmt: skip
NOTHING_WITHOUT = (("per_checkpoint", "stabilise"), ("sweep", "criterion_all"))


def refuse_idle(**values: object) -> None:
    """Options that would do nothing beside the others are refused rather than ignored."""
    given = {name for name, value in values.items() if value is not None and value is not False}
    idle = [(one, "beside", two) for one, two in NOTHING_BESIDE if {one, two} <= given]
    idle += [(one, "without", two) for one, two in NOTHING_WITHOUT if one in given and two not in given]
    for one, word, two in idle:
        raise SparsityLabError(
            f"{_option(one)} does nothing {word} {_option(two)}",
            fix="Leave one of them out, or give what it needs",
        )


def _option(name: str) -> str:
    return "--criterion all" if name == "criterion_all" else f"--{name.replace('_', '-')}"


def criterion_of(named: str | None, thresholds: Path | None) -> str:
    """The criterion named, or that of the thresholds, or cett."""
    if named == ALL or (named is None and thresholds is None):
        return "cett"
    if named is not None or thresholds is None:
        return str(named)
    from sparsity_lab.measure.thresholds.stored import read_calibration

    return read_calibration(thresholds).criterion


def pairs(words: list[str]) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    for word in words:
        if "=" not in word.strip("="):
            raise SparsityLabError(f"--slurm {word} is not understood", fix="Write KEY=VALUE: partition=gpu")
    return dict(word.split("=", 1) for word in words)


def settings_of(
    knobs: list[float] | None, ratios: list[str] | None, increases: list[str] | None
) -> dict[str, Any]:
    """The fields of a `MeasureSpec` that say at which knob, or where to find it; the first one and the further ones."""
    from sparsity_lab.measure.spec import percent

    rises = [percent(one) for one in increases or ["1%"]]
    shares = [percent(one) for one in ratios or []]
    given = knobs or shares or rises
    return {
        "knob": knobs[0] if knobs else None,
        "activation_ratio": shares[0] if shares else None,
        "ppl_increase": rises[0],
        "further": tuple(given[1:]),
    }


def revisions_of(text: str | None) -> list[str]:
    """The revisions of --revisions, blanks around them left out.

    Raises:
        SparsityLabError: one of them is empty.
    """
    named = [] if text is None else [name.strip() for name in text.split(",")]
    if not all(named):
        raise SparsityLabError(
            f"--revisions {text!r} holds an empty name",
            fix="Write names with commas between: step1000,step2000",
        )
    return named


def last_of(stabilise: str | None) -> int | None:
    """Checkpoints at the end of a series that one knob is found on: last:5."""
    if stabilise is None:
        return None
    word, _, count = stabilise.partition(":")
    if word != "last" or not count.isdecimal() or not count.strip("0"):
        raise SparsityLabError(f"--stabilise {stabilise} is not understood", fix="Write last:5")
    return _counted("stabilise_last", count)


def tokens_of(text: str) -> tuple[int, float | None]:
    """Tokens, and the share of the rise its error may have where the text is to grow."""
    from sparsity_lab.measure.spec import percent
    from sparsity_lab.measure.work.text_length import ERROR_SHARE, START_TOKENS

    word, colon, share = text.partition(":")
    if word == "auto":
        return START_TOKENS, percent(share) if colon else ERROR_SHARE
    if not text.isdecimal():
        raise SparsityLabError(f"--tokens {text} is neither a positive number nor auto", fix="Write auto:10%")
    return _counted("tokens", text), None


def windows_at_once(text: str) -> int | None:
    """Windows of a forward pass, None for auto.

    Raises:
        SparsityLabError: neither auto nor a positive number.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise SparsityLabError(
            f"--batch-size {text} is neither auto nor a positive number", fix="Write auto, or 8"
        )
    return _counted("batch_size", text)


def _counted(name: str, digits: str) -> int:
    """A whole number in the range of its name."""
    if len(digits) > LONGEST:
        called = ranges.CALLED.get(name, f"--{name.replace('_', '-')}")
        raise SparsityLabError(f"{called} has {len(digits)} digits", fix="Write a smaller number")
    ranges.check(name, int(digits))
    return int(digits)
