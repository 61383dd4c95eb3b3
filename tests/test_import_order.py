"""Imports run one way, and the command line stays light."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_graph import imports, modules

PACKAGE = Path(__file__).parents[1] / "sparsity_lab"
MODULES = modules(PACKAGE)
MAY_IMPORT = {
    "base": set(),
    "laws": {"base"},
    "fitting": {"base", "laws"},
    "kernels": {"base"},
    "measure": {"base", "kernels"},
    "ladder": {"base", "kernels", "measure"},
    "bench": {"base", "laws", "fitting", "kernels", "measure", "ladder"},
    "cli": {"base", "laws", "fitting", "kernels", "measure", "ladder", "bench"},
}


BASE_FOLDERS = ("loggers", "machine", "reading", "store")
LIBRARIES = {
    "arrays": {"numpy"},
    "error_parts": {"numpy"},
    "yaml_file": {"yaml"},
}  # that files of the base may import, beyond Python's own


def room(module: str) -> str:
    """The room a module lies in; what lies in none is the base of all."""
    head = module.split(".")[1] if "." in module else ""
    return head if head in MAY_IMPORT else "base"


@pytest.mark.parametrize("module", sorted(MODULES))
@pytest.mark.long
def test_imports_run_one_way(module):
    if module == "sparsity_lab.__main__":
        return
    allowed = {room(module), *MAY_IMPORT[room(module)]}
    for imported in imports(MODULES[module], MODULES):
        assert room(imported) in allowed, f"{module} ({room(module)}) imports {imported} ({room(imported)})"


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in (".", *BASE_FOLDERS) for path in PACKAGE.glob(f"{folder}/*.py")),
    ids=lambda p: p.stem,
)
def test_the_base_is_stdlib_only_at_import_time(path):
    allowed = {*sys.stdlib_module_names, "sparsity_lab", *LIBRARIES.get(path.stem, ())}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name}: {name}"


def test_help_is_quick_and_light():
    script = (
        "import sys\n"
        "from sparsity_lab.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'scipy', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    # The least of up to 24: what other processes do to the caches makes a start slower and never quicker.
    typer_s = min(_cpu_seconds("import typer") for _ in range(3))
    own = min(_cpu_seconds(script) for _ in range(4))
    for _ in range(20):
        if own < typer_s + 0.5:
            break
        own = min(own, _cpu_seconds(script))
    assert own < typer_s + 0.5


def _cpu_seconds(script: str) -> float:
    """Of another Python; wall time is what else the machine has to do."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    after = os.times()
    assert done.returncode == 0, done.stderr
    assert "import typer" in script or "Usage" in done.stdout
    return after.children_user + after.children_system - before.children_user - before.children_system
