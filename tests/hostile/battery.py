"""What bad input must lead to: exit 2, one paragraph that names the culprit and the way out, and nothing written.

A case is a command line, what makes its bad file, and what the paragraph must say. `run_case` runs it in this
process, in a folder of its own, and compares the folder before and after.
"""

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sparsity_lab.cli.main import main
from sparsity_lab.errors import SparsityLabError

LONGEST = 1200  # letters of a paragraph that one still reads


@dataclass(frozen=True)
class World:
    """What cases are made of.

    Attributes:
        folder: the working directory of the case, empty.
        trained: a whole model directory, not to be touched. text: a UTF-8 text that it can read.
        record: a record of `measure` on them.
        uses: folder of what `neurons` and `predict` left of that record, where a case asks for it.
    """

    folder: Path
    trained: Path
    text: Path
    record: Path
    uses: Path | None = None

    def model(self, name: str = "broken") -> Path:
        """A copy of the model that a case may break."""
        return shutil.copytree(self.trained, self.folder / name)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the working directory; its folders are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        name: of the test.
        words: the command line; {trained}, {text}, {record} and {uses} stand for paths.
        named: what the paragraph must name: the file, flag, task or key at fault.
        told: more that it must say.
        make: makes the bad input in the working directory.
        output: whether `--output out` is added.
        planned: the command prints its plan before it finds out.
    """

    name: str
    words: str
    named: str
    told: str = ""
    make: Callable[[World], object] | None = None
    output: bool = True
    planned: bool = False


def battery(*cases: Case):
    """The decorator that runs a test over cases."""
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.named for case in cases)
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def run_case(case: Case, world: World, capfd) -> None:
    """Run a case in the working directory and assert what the module's docstring says."""
    if case.make is not None:
        case.make(world)
    before = snapshot(world.folder)
    words = shlex.split(
        case.words.format(trained=world.trained, text=world.text, record=world.record, uses=world.uses)
    )
    words += ["--output", "out"] if case.output else []
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["--quiet", *words])
    captured = capfd.readouterr()
    assert stop.value.code == 2, captured
    assert_paragraph(captured.err, case)
    assert captured.out == "" or case.planned
    error = stop.value.__context__
    assert isinstance(error, SparsityLabError), repr(error)
    assert error.fix, f"no way out is told: {captured.err}"
    assert snapshot(world.folder) == before


def assert_paragraph(errors: str, case: Case) -> None:
    """One paragraph, short enough to be read, with what the case wants in it."""
    assert "Traceback" not in errors
    assert errors.startswith("Error: "), errors
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, errors
    assert len(errors) < LONGEST, errors
    assert case.named in errors, errors
    assert case.told in errors, errors


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file's bytes and every folder under a folder, links not followed; an empty `out` counts as none."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None
    if found.get("out", b"") is None and not any(name.startswith("out/") for name in found):
        del found["out"]
    return found
