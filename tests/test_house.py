"""Rules that keep the house one a newcomer can enter."""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

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


def test_a_class_name_is_given_once():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert not {name: files for name, files in places.items() if len(files) > 1}
