"""The range of every number that a command or a specification takes, infinity and nan included; checked before work.

The command line checks its options by these names, and specifications and the sections of a YAML their fields by the
same. A name has one range wherever it is used, unless a command has its own, as `heat.tokens`. The range of a knob is
its criterion's. An upper end is far beyond what anybody uses: it stops slips of the pen, infinity among them.
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from sparsity_lab.errors import SparsityLabError

MOST_SEED = 2**32 - 1  # what numpy's and transformers' generators take
MOST_DIGITS = 30


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both admitted unless `above` or `below` excludes them.

    Infinity and nan are in no range. `note` explains it.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    note: str = ""

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        over = self.low < value if self.above else self.low <= value
        return over and (value < self.high if self.below else value <= self.high)

    @property
    def words(self) -> str:
        """What a number must be."""
        return "a finite number" if math.isinf(self.low) else f"a number {self}"

    def __str__(self) -> str:
        low = f"above {_digits(self.low)}" if self.above else f"from {_digits(self.low)}"
        to = "and below" if self.below else "and at most" if self.above else "to"
        note = f", {self.note}" if self.note else ""
        return f"{low} {to} {_digits(self.high)}{note}"


ANY = Range(-math.inf, math.inf)
COUNT = Range(1, 10**9)
TOKENS = Range(1, 10**13)
SHARE = Range(0, 1, above=True, below=True)
RATE = Range(0, 1_000, above=True)
MULTIPLE = Range(0, 10**9, above=True)
RANGES: dict[str, Range] = {
    "seed": Range(0, MOST_SEED),
    "jobs": Range(1, 4096), "fit.jobs": Range(0, 4096),
    "task_cpus": Range(1, 4096), "task_gpus": Range(0, 1024), "task_memory_gb": Range(0, 10**6, above=True),
    "retries": Range(0, 1000),
    "limit": COUNT, "line": COUNT, "text_shards": Range(1, 10**6),
    "tokens": TOKENS, "heat.tokens": Range(2, 10**6), "bench.measure.tokens": Range(2, 10**9),
    "tokens_per_step": TOKENS, "written_tokens": Range(0, 10**6), "d0": Range(1e4, 1e16),
    "window": Range(1, 10**7), "bench.measure.window": Range(2, 10**7), "batch_size": Range(1, 10**6),
    "every_steps": COUNT, "bos_id": Range(0, 10**9),
    "stabilise_last": COUNT, "prompts": COUNT, "num_fewshot": Range(0, 10**4),
    "error_share": Range(0, 1, above=True), "score": Range(0, 1),
    "bench.measure.knob": ANY, "reach": ANY,
    "delta": Range(1e-9, 10**3), "bootstrap": Range(0, 10**6),
    "draws": Range(0, 10**6), "spare": Range(1, 10**3), "structure.draws": Range(19, 10**6),
    "permutations": Range(19, 10**7), "worlds": Range(20, 10**6),
    "pairs": Range(1, 10**6), "affinity.pairs": Range(6, 10**6), "bench.train.pairs": Range(2, 10**6),
    "clusters": Range(2, 10**6), "routed": COUNT, "cache_ratio": Range(1, 10**6), "most_neurons": Range(4, 10**8),
    "ranks": Range(1, 10**6), "budgets": Range(0, 10**12, above=True), "epochs": Range(1, 10**6),
    "ladder.tokens": Range(1, 10**15), "tokens_per_parameter": MULTIPLE, "first_checkpoint_tokens": Range(1, 10**15),
    "max_bytes": Range(1, 10**15), "train_bytes": Range(1, 10**15), "max_epochs": Range(0, 10**6, above=True),
    "validation_share": Range(0, 0.5, above=True, below=True),
    "hidden_size": Range(1, 2**20), "base_hidden_size": Range(1, 2**20), "layers": Range(1, 10_000),
    "intermediate_size": Range(1, 2**24), "intermediate_ratio": MULTIPLE, "heads": Range(1, 2**16),
    "head_dim": Range(1, 2**16), "key_value_heads": Range(1, 2**16), "vocabulary": Range(1, 2**24),
    "positions": Range(1, 2**24), "ladder.window": Range(2, 2**24), "ladder.batch_size": Range(1, 2**24),
    "micro_batch_size": Range(1, 2**24), "learning_rate": RATE, "matrix_learning_rate": RATE,
    "warmup_steps": Range(0, 10**12), "warmup_share": Range(0, 1, below=True), "decay_share": SHARE,
    "final_learning_rate_ratio": Range(0, 1), "weight_decay": Range(0, 100), "beta1": Range(0, 1, below=True),
    "beta2": Range(0, 1, below=True), "clip_norm": Range(0, 10**6, above=True), "checkpoints": Range(1, 10_000),
    "log_every_steps": Range(1, 10**12), "stabilise": Range(1, 10_000), "fixed_cett": SHARE,
    "ladder.ppl_increase": Range(0, 1, above=True, below=True, note="as a fraction: 0.01 stands for 1 %"),
    "ladder.drop": Range(0, 10_000), "segments": Range(0, 10**12),
    "predictor_cost": Range(0, 1), "bytes_per_weight": Range(1 / 16, 16), "context_tokens": Range(0, 10**9),
    "bytes_per_kv": Range(1 / 16, 16), "ratios": Range(0, 1, above=True),
}  # fmt: skip


# Fields that are not flags by themselves.
OF_KEYS = ("ladder",)  # whose settings are keys of a YAML, not flags
CALLED = {
    "error_share": "The share of --tokens auto", "stabilise_last": "The count of --stabilise last",
    "task_memory_gb": "--task-memory",
}  # fmt: skip

PLAIN = {str: "a str", bool: "True or False", Path: "a pathlib.Path"}


def bare(hint: Any) -> Any:
    """An annotation without its notes and without `| None`."""
    if get_origin(hint) is Annotated:
        return bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        return bare(parts[0]) if len(parts) == 1 else hint
    return hint


def takes_none(hint: Any) -> bool:
    """Whether None is a value of an annotation."""
    if get_origin(hint) is Annotated:
        return takes_none(get_args(hint)[0])
    return type(None) in get_args(hint)


def hints(kind: Any) -> dict[str, Any]:
    """The annotations of a dataclass by field, notes among them."""
    return get_type_hints(kind, include_extras=True)


def range_of(name: str, *, command: str = "") -> Range | None:
    """The range of a name, a command's own first; None where it has none."""
    return RANGES.get(f"{command}.{name}", RANGES.get(name))


def check(name: str, value: object, *, command: str = "", flag: str = "", whole: bool = False) -> None:
    """Refuse a number out of its range, or a sequence with one; None and what is not a number pass.

    Args:
        name: of the setting. value: what it was given. command: whose range, where that has its own.
        flag: what to call it; where empty, `--name`, or the name alone where it is a key of a YAML.
        whole: refuse whatever is not a whole number as well.

    Raises:
        SparsityLabError: it is out of its range.
    """
    wanted = range_of(name, command=command)
    if wanted is None:
        return
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if whole and one is not None and (isinstance(one, bool) or not isinstance(one, Integral)):
            raise SparsityLabError(
                f"{flag or name} is {str(one)[:80]}",
                why="It must be a whole number",
                fix="Correct the number",
            )
        number: Any = one
        if isinstance(one, Real) and not isinstance(one, bool) and number not in wanted:
            called = flag or (f"`{name}`" if command in OF_KEYS else _flag(name))
            raise SparsityLabError(
                f"{called} is {_short(number)}", why=f"It must be {wanted.words}", fix="Correct the number"
            )


def check_fields(spec: Any, *, command: str = "") -> None:
    """Refuse a dataclass with a field of another kind than it says, or out of the range of its name.

    Raises:
        SparsityLabError: it has one.
    """
    for name, hint in hints(type(spec)).items():
        value, kind = getattr(spec, name), bare(hint)
        check(name, value, command=command, whole=kind is int)
        if value is not None or not takes_none(hint):
            check_kind(name, value, kind)


def check_kind(name: str, value: object, kind: Any) -> None:
    """Refuse a value that is not of a kind; kinds that are not plain pass.

    Raises:
        SparsityLabError: it is not.
    """
    if get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)):
            raise SparsityLabError(f"{name} is {str(value)[:80]!r}", fix="Give several values as a tuple")
        for item in value:
            check_kind(name, item, get_args(kind)[0])
    elif kind is float:
        check_real(name, value)
    elif isinstance(kind, types.UnionType) and all(
        issubclass(each, (str, Path, types.NoneType)) for each in get_args(kind)
    ):
        plain = [PLAIN[each] for each in get_args(kind) if each in PLAIN]
        if not isinstance(value, kind):
            raise SparsityLabError(
                f"{name} is {str(value)[:80]!r}", why=f"It must be {' or '.join(plain)}", fix="Correct it"
            )
    elif kind in PLAIN and not isinstance(value, kind):
        raise SparsityLabError(
            f"{name} is {str(value)[:80]!r}", why=f"It must be {PLAIN[kind]}", fix="Correct it"
        )


def check_real(name: str, value: object) -> None:
    """Refuse what is not a real number; None passes.

    Raises:
        SparsityLabError: it is none.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise SparsityLabError(
            f"{name} is {str(value)[:80]!r}, not a number", fix="Give a number, such as 0.1"
        )


def whole(name: str, digits: str) -> int:
    """Digits as a whole number in the range of its name.

    Raises:
        SparsityLabError: it is out of its range.
    """
    if len(digits) > MOST_DIGITS:
        raise SparsityLabError(f"{_flag(name)} has {len(digits)} digits", fix="Write a smaller number")
    check(name, int(digits))
    return int(digits)


def _flag(name: str) -> str:
    return CALLED.get(name, f"--{name.replace('_', '-')}")


def _digits(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _short(value: float) -> str:
    """A number as a reader takes it in, however long."""
    if isinstance(value, int) and abs(value) > MOST_SEED:
        return f"{value:.4g}" if abs(value) < 10**300 else "a number of hundreds of digits"
    return f"{value:g}" if isinstance(value, float) else str(value)
