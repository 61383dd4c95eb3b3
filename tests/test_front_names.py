"""The four functions of the package itself: lazy, callable in every order of imports, the same as in their rooms."""

import ast
import copy
import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import sparsity_lab

STUB = Path(sparsity_lab.__file__).with_suffix(".pyi")


def stubbed():
    """Where the stub says that each function is, by its name."""
    imports = [
        node for node in ast.parse(STUB.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)
    ]
    return {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_alone_loads_no_library():
    run(
        "import sys, sparsity_lab\n"
        "assert {'measure', 'sparsified', 'fit', 'density'} <= set(dir(sparsity_lab))\n"
        "assert not {'numpy', 'torch', 'pandas', 'scipy', 'typer'} & set(sys.modules)\n"
    )


@pytest.mark.parametrize(
    "imports",
    [
        "from sparsity_lab import measure",
        "import sparsity_lab\nmeasure = sparsity_lab.measure",
        "import sparsity_lab.measure as measure",
        "import sparsity_lab.measure\nfrom sparsity_lab import measure",
        "from sparsity_lab import measure\nimport sparsity_lab.measure\nassert sparsity_lab.measure is measure",
        "import importlib\nmeasure = importlib.reload(importlib.import_module('sparsity_lab.measure'))",
        pytest.param(
            "from sparsity_lab.measure.api import measure as function\nfrom sparsity_lab import measure\n"
            "import sparsity_lab.measure.api\nassert sparsity_lab.measure.api.measure is function",
            marks=pytest.mark.long,
        ),
    ],
)  # fmt: skip
def test_measure_is_the_package_and_can_be_called_in_every_order(imports):
    pytest.importorskip("torch", reason="the extra `measure` is not installed")
    run(
        f"{imports}\nimport sys\nassert measure is sys.modules['sparsity_lab.measure'] and callable(measure)\n"
    )


def test_calling_the_package_calls_the_function(monkeypatch):
    pytest.importorskip("torch", reason="the extra `measure` is not installed")
    from sparsity_lab import measure
    from sparsity_lab.measure import api

    assert inspect.signature(measure) == inspect.signature(api.measure)
    monkeypatch.setattr(api, "measure", lambda *given, **named: (given, named))
    assert measure("model", [1], knob=0.1) == (("model", [1]), {"knob": 0.1})


def test_the_callable_package_is_copied_and_pickled_as_functions_are():
    pytest.importorskip("torch", reason="the extra `measure` is not installed")
    from sparsity_lab import measure

    assert pickle.loads(pickle.dumps(measure)) is measure
    assert copy.deepcopy(measure) is measure
    assert "measure.api.measure" in pydoc.render_doc(measure, renderer=pydoc.plaintext)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError):
        sparsity_lab.mesure  # noqa: B018
    assert not hasattr(sparsity_lab, "__path_hooks__")
    from sparsity_lab import errors  # a module that was not named is still found

    assert errors.SparsityLabError


def test_the_stub_names_what_is_there():
    pytest.importorskip("torch", reason="the extra `measure` is not installed")
    named = stubbed()
    assert set(named) == set(sparsity_lab._FUNCTIONS)
    for name, (module, function) in named.items():
        wanted = getattr(importlib.import_module(module), function)
        found = getattr(sparsity_lab, name)
        assert found is wanted or inspect.signature(found) == inspect.signature(wanted)
