"""Imports run one way, and the command line stays light."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sparsity_lab"
BASE = {
    "errors",
    "extras",
    "labels",
    "registry",
    "resident",
    "records",
    "provenance",
    "progress",
    "tables",
    "tokenization",
    "bundled",
    "cores",
    "environment",
    "csv_file",
    "csv_numbers",
    "text_file",
    "collecting",
    "leaving",
    "signals",
    "sole_writer",
    "workers",
    "loggers",
    "units",
    "unit_names",
    "ranges",
    "whole_files",
    "file_names",
    "reading",
    "walking",
    "mirrors",
    "__init__",
    "__version__",
}
MAY_IMPORT = {
    "base": set(),
    "laws": {"base"},
    "fitting": {"base", "laws"},
    "kernels": {"base"},
    "measure": {"base", "kernels"},
    "ladder": {"base", "kernels", "measure"},
    "cli": {"base", "laws", "fitting", "kernels", "measure", "ladder"},
}


def room(path_or_module: str) -> str:
    head = path_or_module.split(".")[0]
    return "base" if head in BASE or head == "" else head


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {
        name.removeprefix("sparsity_lab").lstrip(".") for name in found if name.startswith("sparsity_lab.")
    }


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    relative = path.relative_to(PACKAGE)
    if relative.name == "__main__.py":
        return
    own = room(relative.parts[0]) if len(relative.parts) > 1 else "base"
    for module in imported_modules(path):
        target = room(module)
        if target != own:
            assert target in MAY_IMPORT[own], f"{relative} ({own}) imports {module} ({target})"


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
