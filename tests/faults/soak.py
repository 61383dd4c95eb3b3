"""Kills a command again and again, and checks after each run that nothing is lost, halved or done twice.

    python -m pytest -m slow tests/faults/test_kills.py --basetemp FOLDER

runs the two hundred kills and leaves their tables, one row a run, in FOLDER.

The rule is the same for every command. Whatever file stands in the output, killed or not, is the file of an
undisturbed run to the last byte but for stamps of time and command; what is still in the making goes by names that
say so. Once there it stays, and what was costly is not made again. In the end the files are those of an undisturbed
run, and no others.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sparsity_lab.machine import sole_writer
from sparsity_lab.store.records import read_record
from tests.faults.zygote import Ended, Zygote

STAMPS = ("time", "git", "command")
PAGE_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


def contents(output: Path) -> dict[str, bytes]:
    """Name -> content of all files of an output, without stamps of time and command."""
    return {
        path.relative_to(output).as_posix(): unstamped(path)
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def unstamped(path: Path) -> bytes:
    """A file's content without its stamps; a record must be whole."""
    data = path.read_bytes()
    if path.suffix == ".html":
        return PAGE_STAMP.sub(b"", data)
    if path.suffix != ".json":
        return data
    if path.parent.name == "records":
        read_record(path)
    value = json.loads(data)
    if isinstance(value, dict):
        value.pop("record_sha256", None)
        said = value if path.name == "provenance.json" else value.get("provenance", {})
        for name in STAMPS:
            said.pop(name, None)
    return json.dumps(value).encode()


def nothing(name: PurePosixPath, output: Path) -> bool:
    """No file is in the making but by its name."""
    return False


@dataclass(frozen=True)
class Command:
    """What is disturbed.

    Attributes:
        name: of the command.
        words: the command, without its output.
        costly: glob of files that must not be written twice.
        in_the_making: whether a file, by its name in the output, is one that a kill may leave unfinished.
    """

    name: str
    words: tuple[object, ...]
    costly: str = ""
    in_the_making: Callable[[PurePosixPath, Path], bool] = nothing


@dataclass
class Soak:
    """One output under fire.

    Attributes:
        zygote: runs and kills.
        command: the command.
        output: where it writes.
        expected: what an undisturbed run leaves there.
        kept: costly file -> its inode when it was first seen.
        log: one row a run.
    """

    zygote: Zygote
    command: Command
    output: Path
    expected: dict[str, bytes]
    kept: dict[str, int] = field(default_factory=dict)
    log: list[dict[str, object]] = field(default_factory=list)

    def run(self, *, kill_after_s: float | None = None, kill_at: int | None = None) -> Ended:
        """One run, killed or not, and the checks after it; a finished output is compared and removed."""
        before = self._finished()
        ended = self.zygote.run(
            *self.command.words, output=self.output, kill_after_s=kill_after_s, kill_at=kill_at
        )
        assert ended.killed or ended.code == 0, ended.said
        after = self._finished()
        wrong = [name for name, content in after.items() if self.expected.get(name) != content]
        assert not wrong, f"{wrong} differ from an undisturbed run's"
        assert set(before) <= set(after), f"{set(before) - set(after)} are lost"
        self._check_costly()
        if not ended.killed:
            assert contents(self.output) == self.expected, "all of it, and nothing else"
        self.log.append(
            {
                "command": self.command.name,
                "kill": "-" if kill_after_s is None and kill_at is None else _moment(kill_after_s, kill_at),
                "ended by": "SIGKILL" if ended.killed else "itself",
                "operations on files": ended.operations,
                "finished files before": len(before),
                "finished files after": len(after),
                "verdict": "each as undisturbed, none lost"
                if ended.killed
                else "the same bytes, no other file",
            }
        )
        if not ended.killed:
            shutil.rmtree(self.output)
            self.kept.clear()
        return ended

    def _finished(self) -> dict[str, bytes]:
        """The files that are not in the making."""
        found = {}
        for path in sorted(self.output.rglob("*")):
            name = PurePosixPath(path.relative_to(self.output).as_posix())
            unnamed = name.suffix == ".partial" or ".claim-" in name.name or name.name == sole_writer.NAME
            if path.is_file() and not unnamed and not self.command.in_the_making(name, self.output):
                found[str(name)] = unstamped(path)
        return found

    def _check_costly(self) -> None:
        """None made twice."""
        if not self.command.costly:
            return
        found = {
            path.relative_to(self.output).as_posix(): path.stat().st_ino
            for path in self.output.glob(self.command.costly)
        }
        again = [name for name, inode in self.kept.items() if found.get(name) != inode]
        assert not again, f"{again} were made twice or lost"
        self.kept.update(found)

    @property
    def kills(self) -> int:
        """Runs killed so far."""
        return sum(row["ended by"] == "SIGKILL" for row in self.log)

    def kill_at_random_moments(self, kills: int, *, seconds: float, seed: int) -> None:
        """Kills spread over the time a run takes, as fast as the machine is meanwhile; then a run to the end."""
        draw = random.Random(seed)
        wanted = self.kills + kills
        while self.kills < wanted:
            ended = self.run(kill_after_s=draw.uniform(0, seconds))
            seconds = seconds if ended.killed else ended.seconds
        self.run()

    def kill_before_operations(self, numbers: Iterable[int]) -> None:
        """Killed before these operations on files, each run going on where the last was killed; then one to the end.

        Where a run has fewer operations left than that, it ends, and the next one begins anew.
        """
        for number in numbers:
            while not self.run(kill_at=number).killed:
                pass
        self.run()


def undisturbed(zygote: Zygote, words: tuple[object, ...], output: Path) -> tuple[dict[str, bytes], Ended]:
    """What an undisturbed run leaves, and how it went."""
    ended = zygote.run(*words, output=output)
    assert ended.code == 0, ended.said
    return contents(output), ended


def _moment(kill_after_s: float | None, kill_at: int | None) -> str:
    return f"before operation {kill_at}" if kill_at is not None else f"after {kill_after_s:.3f} s"
