"""Every refusal of the package says what to do instead."""

import ast
from pathlib import Path

import pytest

import sparsity_lab
from sparsity_lab.errors import SparsityLabError

PACKAGE = Path(sparsity_lab.__file__).parent


def refusals(source):
    """Calls of SparsityLabError, under its own name or a module's."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call for call in calls if ast.unparse(call.func).split(".")[-1] == SparsityLabError.__name__]


def without_fix(source):
    """Lines of the calls that give no fix, or an empty one."""
    return [call.lineno for call in refusals(source) if not any(map(gives_fix, call.keywords))]


def gives_fix(keyword):
    if keyword.arg is None:
        return True  # **keywords: what they hold is known only when run
    return keyword.arg == "fix" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)


def test_every_refusal_tells_a_way_out():
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    assert sum(len(refusals(source)) for source in sources.values()) > 300, "where are they?"
    silent = [
        f"{path.relative_to(PACKAGE)}:{line}" for path in sources for line in without_fix(sources[path])
    ]
    assert not silent, f"no fix= in {', '.join(silent)}"


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        ("SparsityLabError('a')", [1]),
        ("errors.SparsityLabError('a', why='b')", [1]),
        ("x = 1\nraise SparsityLabError('a', fix='')", [2]),
        ("SparsityLabError('a', why='b', fix='c')", []),
        ("SparsityLabError('a', fix=WAY_OUT)", []),
        ("SparsityLabError('a', **told)", []),
        ("ValueError('a')", []),
    ],
)
def test_a_refusal_without_a_way_out_is_seen(call, lines):
    assert without_fix(call) == lines
