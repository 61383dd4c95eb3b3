"""A whole invocation from a seed: the command's words, what is wrong with its files, and what surrounds it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.zygote import Surroundings
from tests.hostile.fuzzing.app import Command, Parameter, commands
from tests.hostile.fuzzing.defects import break_one
from tests.hostile.fuzzing.surroundings import unusual, usual
from tests.hostile.fuzzing.values import BRIEF, NEVER, named, odd, right
from tests.hostile.fuzzing.world import MADE

WRITING = {"output", "publish"}
# Of 1 for a command: less for those that take minutes whatever they are given, more for quick ones that read much.
WEIGHTS = {
    "": 0.2, "demo": 0.1, "study": 0.5, "bench.kernels": 0.1, "bench.train": 0.3, "density.planted": 0.2, "ls": 0.2,
    "report": 3, "check": 3, "fit": 2, "affinity": 2, "bench": 0.1, "eval": 0.5,
}  # fmt: skip
OUTPUTS = (
    "out", "out", "out", "out/below/it", "measured", "fits", "neurons", "density", "model", "text.txt",
    "text.txt/below", "closed", "closed/below", "nowhere", "a b", "it's \"so\"", "a\nb", "日本語", "e\u0301", "-out",
    "%s{0}", "out/../out", "o" * 300, "\ud8ff", "out/", "con", "a:b", "[a]*?", "$HOME", "file:out", "--output",
)  # fmt: skip


@dataclass
class Invocation:
    """What is run, and what was done to its files before."""

    seed: int
    command: Command
    words: list[str]
    around: Surroundings
    done: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = [f"seed {self.seed}", *self.done]
        variables = " ".join(
            f"{name}={shlex.quote(value)}" if value is not None else f"-u {name}"
            for name, value in self.around.variables.items()
        )
        rest = {
            name: value
            for name, value in vars(self.around).items()
            if name not in ("folder", "variables") and value not in ("", {}, None, False)
        }
        line = shlex.join(["sparsity-lab", *self.words])
        return "\n  ".join(
            [*said, f"in {rest}" if rest else "", f"{f'env {variables} ' if variables else ''}{line}"]
        )


def invocation(seed: int, folder: Path) -> Invocation:
    """Draw an invocation and spoil the files in its folder, `folder/here`, as it says."""
    draw = Random(seed)
    kinds = {"value": 3, "file": 6, "again": 4, "output": 2, "around": 3, "none": 1}
    twists = draw.choices(list(kinds), list(kinds.values()), k=draw.choice((1, 1, 2)))
    around = unusual(draw, folder) if "around" in twists else usual(folder)
    made = _again(seed, draw, around) if "again" in twists else _new(seed, draw, around, twists)
    if "output" in twists:
        (folder / "here" / "closed").mkdir(mode=0o500)
        (folder / "here" / "nowhere").symlink_to("not/there")
    if "file" in twists or "again" in twists:
        _spoil(draw, made, folder)
    return made


def _new(seed: int, draw: Random, around: Surroundings, twists: list[str]) -> Invocation:
    """A command with options drawn one by one."""
    known = commands()
    command = draw.choices(known, [WEIGHTS.get(one.name, 1) for one in known])[0]
    here = Path(around.folder)
    files = sorted(path.relative_to(here).as_posix() for path in [*here.glob("*"), *here.glob("*/*")])
    given = _given(draw, command)
    odd_one = draw.choice(given) if given and "value" in twists else None
    words: list[str] = []
    for one in given:
        value = odd(draw, command, one, files) if one is odd_one else right(draw, command, one)
        words += _words(draw, one, value)
    outputs, written = _output(draw, command, twisted="output" in twists)
    words = [*_program(draw), *command.words, *words, *_brief(command, given), *outputs]
    usual_place = [] if command.parameter("output") is None else ["runs"]
    return Invocation(seed, command, words, around, written=written or usual_place)


def _again(seed: int, draw: Random, around: Surroundings) -> Invocation:
    """A command that has run before, whose output is taken up again."""
    words = draw.choice(MADE).split()
    command = next(one for one in commands() if one.words == (words[0],))
    return Invocation(seed, command, words, around, written=[words[-1]])


def _spoil(draw: Random, made: Invocation, folder: Path) -> None:
    """Break a file that the words name, or one below a folder that they name; the earlier output where it is one."""
    here = folder / "here"
    named_files = [word.rpartition("=")[2] for word in made.words]
    paths = [here / word for word in named_files if word and "\0" not in word and len(word) < 200]
    there = [path for path in paths if os.path.lexists(path) and here in path.resolve().parents]
    if there:
        path = there[-1] if "--output" in made.words and draw.random() < 0.5 else draw.choice(there)
        made.done.append(break_one(draw, path).replace(f"{here}/", ""))


def _program(draw: Random) -> list[str]:
    return draw.choice(([], [], [], ["--quiet"], ["-q"]))


def _given(draw: Random, command: Command) -> list[Parameter]:
    """What must be given, but once in a while, and a few of what may be."""
    able = [one for one in command.parameters if one.name not in NEVER | WRITING]
    needed = [one for one in able if one.required and draw.random() < 0.99]
    useful = [one for one in able if not one.required and not one.flags and draw.random() < 0.85]
    more = [one for one in able if not one.required and one.flags]
    return [*needed, *useful, *draw.sample(more, min(len(more), draw.choice((0, 0, 1, 1, 2, 3))))]


def _words(draw: Random, one: Parameter, value: str) -> list[str]:
    if not one.flags:
        return [value]
    flag = draw.choice(one.flags)
    if one.kind is bool:
        return [draw.choice((*one.flags, *one.off))]
    if flag.startswith("--") and draw.random() < 0.3:
        return [f"{flag}={value}"]
    return [flag, value]


def _brief(command: Command, given: list[Parameter]) -> list[str]:
    words = []
    for one in command.parameters:
        value = named(BRIEF, command, one)
        if value and one not in given and not one.required:
            words += [str(value)] if one.kind is bool else [one.flags[0], str(value)]
    return words


def _output(draw: Random, command: Command, *, twisted: bool) -> tuple[list[str], list[str]]:
    """The words that say where it writes, and the places."""
    words: list[str] = []
    for one in command.parameters:
        if one.name not in WRITING or draw.random() < (0.1 if one.name == "output" else 0.9):
            continue
        place = draw.choice(OUTPUTS) if twisted else "out" if one.name == "output" else "published"
        words += [one.flags[0], place]
    return words, words[1::2]
