"""Kills `measure` again and again, and checks after each run that nothing is lost, halved or done twice.

    python -m pytest -m slow tests/faults/test_kills.py --basetemp FOLDER

runs the two hundred kills and leaves their table, one row a run, in FOLDER.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sparsity_lab.records import read_record
from tests.faults.zygote import Ended, Zygote


def contents(output: Path) -> dict[str, object]:
    """Name -> content of an output's files, records without their time, their command and the hash over them."""
    found: dict[str, object] = {}
    for path in sorted([*output.glob("*.*"), *output.glob("records/*")]):
        found[path.name] = path.read_bytes()
        if path.parent.name == "records" and path.suffix == ".json":
            record = read_record(path)
            for name in ("time", "git", "command"):
                record["provenance"].pop(name)
            del record["record_sha256"]
            found[path.name] = json.dumps(record)
    return {name: content for name, content in found.items() if not name.startswith(".")}


@dataclass
class Soak:
    """One output under fire.

    Attributes:
        zygote: runs and kills.
        words: the command, without its output.
        output: where it writes.
        expected: what an undisturbed run leaves there.
        kept: record -> its inode and content when it was first seen.
        log: one row a run.
    """

    zygote: Zygote
    words: tuple[object, ...]
    output: Path
    expected: dict[str, object]
    kept: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    log: list[dict[str, object]] = field(default_factory=list)

    def run(self, *, kill_after_s: float | None = None, kill_at: int | None = None) -> Ended:
        """One run, killed or not, and the checks after it; a finished output is compared and removed."""
        ended = self.zygote.run(*self.words, output=self.output, kill_after_s=kill_after_s, kill_at=kill_at)
        assert ended.killed or ended.code == 0, ended.said
        self._check_records()
        if not ended.killed:
            assert contents(self.output) == self.expected
        planned = "at a moment" if kill_after_s is not None else "before an operation" if kill_at else "no"
        self.log.append(
            {
                "kill": planned,
                "after s": None if kill_after_s is None else round(kill_after_s, 3),
                "before operation": kill_at,
                "ended by": "SIGKILL" if ended.killed else "itself",
                "operations on files": ended.operations,
                "records": len(self.kept),
                "records lost, damaged or measured twice": 0,  # or an assertion above had failed
                "table": "not yet" if ended.killed else "the same bytes",
            }
        )
        if not ended.killed:
            shutil.rmtree(self.output)
            self.kept.clear()
        return ended

    def _check_records(self) -> None:
        """Each record whole, none lost, none written again."""
        found = {}
        for path in (self.output / "records").glob("*.json"):
            read_record(path)
            found[path.name] = (path.stat().st_ino, path.read_bytes())
        assert not list((self.output / "records").glob("*.damaged"))
        lost_or_changed = [name for name, kept in self.kept.items() if found.get(name) != kept]
        assert not lost_or_changed
        self.kept.update(found)

    @property
    def kills(self) -> int:
        """Runs killed so far."""
        return sum(row["ended by"] == "SIGKILL" for row in self.log)

    def kill_at_random_moments(self, kills: int, *, seconds: float, seed: int) -> None:
        """Kills spread over the time an undisturbed run takes; then a run to the end."""
        draw = random.Random(seed)
        killed = 0
        while killed < kills:
            killed += self.run(kill_after_s=draw.uniform(0, seconds)).killed
        self.run()

    def kill_before_operations(self, numbers: Iterator[int] | list[int]) -> None:
        """A fresh output each: killed before that operation on a file, then run to the end."""
        for number in numbers:
            assert self.run(kill_at=number).killed
            self.run()


def undisturbed(zygote: Zygote, words: tuple[object, ...], output: Path) -> tuple[dict[str, object], Ended]:
    """What an undisturbed run leaves, and how it went."""
    ended = zygote.run(*words, output=output)
    assert ended.code == 0, ended.said
    return contents(output), ended
