"""Every refusal of the package says what to do instead."""

import ast
import inspect
import pickle
from pathlib import Path

import pytest

import sparsity_lab
from sparsity_lab import errors, registry
from sparsity_lab.errors import SparsityLabError, UnknownNameError
from sparsity_lab.extras import MissingPackageError

PACKAGE = Path(sparsity_lab.__file__).parent
CLASSES = {
    name for name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, SparsityLabError)
}


def refusals(source):
    """Calls of SparsityLabError and its subclasses, under their own names or a module's."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call for call in calls if ast.unparse(call.func).split(".")[-1] in CLASSES]


def without_fix(source):
    """Lines of the calls that give no fix, or an empty one."""
    return [call.lineno for call in refusals(source) if not any(map(gives_fix, call.keywords))]


def gives_fix(keyword):
    if keyword.arg is None:
        return True  # **keywords: what they hold is known only when run
    return keyword.arg == "fix" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)


@pytest.mark.long
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
        ("UnknownNameError('a', nearest='b')", [1]),
        ("ValueError('a')", []),
    ],
)
def test_a_refusal_without_a_way_out_is_seen(call, lines):
    assert without_fix(call) == lines


@pytest.mark.parametrize("kind", [SparsityLabError, UnknownNameError, MissingPackageError])
@pytest.mark.parametrize("again", [SparsityLabError.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_has_the_class_and_all_that_it_carries_but_no_traceback(kind, again):
    error = kind("a", why="b", fix="c")
    error.carried = "d"
    with pytest.raises(kind) as caught:
        raise error
    copied = again(caught.value)
    assert type(copied) is kind
    assert vars(copied) == vars(error)
    assert str(copied) == str(error) == "a. b. c."
    assert error.__traceback__ is not None
    assert copied.__traceback__ is None


@pytest.mark.parametrize(("name", "nearest"), [("relo", "relu"), ("zzz", None)])
def test_an_unknown_name_carries_the_nearest_known_one(name, nearest):
    error = registry.unknown(name, kind="activation", known=["gelu", "relu"])
    assert error.nearest == nearest
    assert (f"{nearest!r}" in error.fix) == (nearest is not None)
