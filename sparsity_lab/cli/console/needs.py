"""Which optional packages each command needs; they are looked for before the command does anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sparsity_lab import extras, registry

NEEDED: dict[str, tuple[str, ...]] = {
    "measure": extras.MODEL,
    "neurons": extras.MODEL,
    "structure": extras.MODEL,
    "predict": extras.MODEL,
    "affinity": extras.MODEL,
    "heat": extras.MODEL,
    "eval": extras.MODEL,  # and lm-eval, where it names tasks
    "train": (*extras.MODEL, "accelerate"),
    "study": (*extras.MODEL, "accelerate"),
    "demo": (*extras.MODEL, "accelerate"),
    "bench.kernels": ("torch",),
    "bench.measure": extras.MODEL,
    "bench.train": (*extras.MODEL, "accelerate"),
}

LM_EVAL = ("datasets", "lm_eval")


def check(command: str, options: Mapping[str, Any]) -> None:
    """Refuse a command whose packages, or those of its launcher and loggers, are not installed.

    Args:
        command: its name, groups before it with a dot.
        options: its options by name, as given.

    Raises:
        MissingPackageError: with the command that installs them.
    """
    needed = [*NEEDED.get(command, ()), *(LM_EVAL if options.get("tasks") and command == "eval" else ())]
    needed += extras.LAUNCHERS.get(str(options.get("launcher")), ())
    logs = list(_libraries(options.get("log") or ()))
    flags = f" --launcher {options['launcher']}" if extras.LAUNCHERS.get(str(options.get("launcher"))) else ""
    flags += "".join(f" --log {name}" for name, _ in logs)
    who = f"sparsity-lab {command.replace('.', ' ')}{flags}"
    extras.require(*dict.fromkeys([*needed, *(library for _, library in logs)]), who=who)


def _libraries(names: Any) -> Iterator[tuple[str, str]]:
    """Known loggers among names, each with the library it needs."""
    for name in dict.fromkeys(names):
        if name in registry.names("loggers"):
            yield name, registry.load("loggers", name).LIBRARY
