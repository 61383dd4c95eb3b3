"""Files of one format are read in one place, so that bad input meets the same refusals everywhere."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sparsity_lab"
ROOMS = ("reading", "store")
PARSERS = {
    "json": {"load", "loads"},
    "csv": {"reader", "DictReader"},
    "yaml": {"load", "safe_load", "SafeLoader"},
    "tomllib": {"load", "loads"},
    "pd": {"read_csv", "read_json"},
}
# What is no file, or has a reader of its own for a reason.
ELSEWHERE = {
    "extras.py": "pip's note on where the package came from, which importlib.metadata hands over as a text",
    "fitting/plots/canvas/frames.py": "tables of our own as pandas frames, each column with its dtype",
    "loggers/_guard.py": "lines of a pipe",
    "loggers/_host.py": "lines of a pipe, read before the package itself is imported",
    "machine/sole_writer.py": "the text of a file that is open and locked",
    "tokenization.py": "the state of a tokenizer in memory",
}


def parsers_called(tree):
    """`json.loads` and the like in a module, and such names imported from their modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in PARSERS.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (
                f"{node.module}.{a.name}" for a in node.names if a.name in PARSERS.get(node.module, ())
            )


def test_files_are_read_by_the_readers_alone():
    found = {
        path.relative_to(PACKAGE).as_posix(): sorted(called)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ROOMS
        and (called := set(parsers_called(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert {file: called for file, called in found.items() if file not in ELSEWHERE} == {}
    assert set(ELSEWHERE) <= set(found), "an exception that is needed no more"


def test_a_parser_is_found_however_it_is_named():
    assert list(parsers_called(ast.parse("import json\njson.loads('1')"))) == ["json.loads"]
    assert list(parsers_called(ast.parse("from csv import DictReader"))) == ["csv.DictReader"]
    assert not list(parsers_called(ast.parse("import json\njson.dumps(1)")))
