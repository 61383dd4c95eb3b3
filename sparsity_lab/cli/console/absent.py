"""Words about texts that a command does without, each with the reason: what it says in place of "No such option"."""

from __future__ import annotations

_AS_RECORDED = "It reads the texts of records again, as these say that they were read"
ABSENT = {
    "affinity": dict.fromkeys(
        ("--text-column", "--pack", "--sample", "--window", "--tokens", "--tokenizer", "--revision"), _AS_RECORDED
    ),
    "bench.measure": {
        "--sample": "It reads the first tokens of a text, as the reproduced algorithm does",
        "--revision": "A revision is part of the model's name there: ID@REVISION",
    },
    "heat": {"--window": "It shows one window, as long as --tokens says"},
}  # fmt: skip


def reason(command: str, flag: str) -> str:
    """Why a command does without a word that others take; empty where nothing is known.

    Args:
        command: its name, groups before it with a dot.
        flag: the word, `--window`, also with its value behind an equals sign.
    """
    return ABSENT.get(command, {}).get(flag.partition("=")[0], "")
