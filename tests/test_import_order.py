"""Imports run one way, and the command line stays light."""

import ast
import subprocess
import sys
import time
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
    "cli": {"base", "laws", "fitting", "kernels", "measure", "ladder"},
}


def room(module: str) -> str:
    """The room a module lies in; what lies in none is the base of all."""
    head = module.split(".")[1] if "." in module else ""
    return head if head in MAY_IMPORT else "base"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_one_way(module):
    if module == "sparsity_lab.__main__":
        return
    allowed = {room(module), *MAY_IMPORT[room(module)]}
    for imported in imports(MODULES[module], MODULES):
        assert room(imported) in allowed, f"{module} ({room(module)}) imports {imported} ({room(imported)})"


@pytest.mark.parametrize(
    "path", sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("loggers/*.py")]), ids=lambda p: p.stem
)
def test_the_base_is_stdlib_only_at_import_time(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "sparsity_lab"}, (
                    f"{path.name}: {name}"
                )


def test_help_is_quick_and_light():
    script = (
        "import sys\n"
        "from sparsity_lab.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'scipy', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert min(seconds) < 0.7, seconds
