"""The graph of imports between the files of a package, read from their source."""

import ast
from collections.abc import Collection, Mapping
from pathlib import Path


def modules(package: Path) -> dict[str, Path]:
    """Return the files of a package by module name; a folder's `__init__` has the folder's name."""
    paths = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def imports(path: Path, names: Collection[str]) -> set[str]:
    """Return those of the modules `names` that a file imports, inside functions and under TYPE_CHECKING too.

    `from package import module` imports the module, `from package import function` the package's `__init__`.
    """
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {module if module in names else node.module for module in inner}
    return imported & set(names)


def import_graph(package: Path) -> dict[str, set[str]]:
    """Return the modules that each module of a package imports."""
    paths = modules(package)
    return {name: imports(path, paths) for name, path in paths.items()}


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Return one circle of a graph, its first node once more at the end; an empty list where there is none."""
    finished: set[str] = set()
    for start in sorted(set(graph)):
        if start in finished:
            continue
        trail, branches = [start], [iter(sorted(graph[start]))]
        while trail:
            node = next(branches[-1], None)
            if node is None:
                branches.pop()
                finished.add(trail.pop())
            elif node in trail:
                return [*trail[trail.index(node) :], node]
            elif node not in finished:
                trail.append(node)
                branches.append(iter(sorted(graph[node])))
    return []
