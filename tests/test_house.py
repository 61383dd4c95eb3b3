"""Rules that keep the house one a newcomer can enter."""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sparsity_lab"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_FILES = 12
# Folders of equals: a law, a criterion, an architecture, a figure or a command each.
EQUALS = {"laws", "measure/criteria", "measure/architectures", "fitting/plots", "cli"}


def test_the_map_names_every_file():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "map.py", "--check"], check=False)
    assert done.returncode == 0, "docs/map.md is stale: run `python .ci/map.py`"


def test_a_folder_is_a_chapter():
    counted = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in FILES)
    full = {folder: files for folder, files in counted.items() if files > MOST_FILES and folder not in EQUALS}
    assert not full


def test_every_folder_tells_its_story():
    silent = [
        folder
        for folder in {path.parent for path in FILES}
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not silent


@pytest.mark.long
def test_a_class_name_is_given_once():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert not {name: files for name, files in places.items() if len(files) > 1}


MOST_LINES, MOST_PARAMETERS = 60, 6
# A kernel takes a pointer or a stride each; the documented functions of Python users take keywords, as scipy's do.
MANY_PARAMETERS = {
    "measure/api.py": {"measure"},
    "measure/callback.py": {"__init__"},
    "measure/token_heat.py": {"token_heat"},
    "fitting/fit_table.py": {"fit_table"},
}


def functions():
    """Every function of the package: the file it is in, and its node."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path.relative_to(PACKAGE), node


@pytest.mark.long
def test_functions_are_short():
    long = [
        f"{path}:{node.name}" for path, node in functions() if node.end_lineno - node.lineno >= MOST_LINES
    ]
    assert not long


def test_functions_take_few_parameters():
    many = defaultdict(set)
    for path, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        counted = len([name for name in names if name not in ("self", "cls")])
        if counted > MOST_PARAMETERS and path.parts[0] != "cli" and path.parts[:2] != ("kernels", "_triton"):
            many[path.as_posix()].add(node.name)
    assert dict(many) == MANY_PARAMETERS
