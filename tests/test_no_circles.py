"""No file of the package imports itself by way of others, not even inside a function or for its types alone."""

from pathlib import Path

import pytest

from tests.import_graph import circle, import_graph


@pytest.fixture(scope="module")
def ours():
    """The graph of this package."""
    return import_graph(Path(__file__).parents[1] / "sparsity_lab")


@pytest.mark.long
def test_no_circle_of_imports(ours):
    trail = circle(ours)
    assert not trail, " -> ".join(trail)


@pytest.mark.parametrize(
    "closing",
    [
        "import package.low\n",
        "from package.low import value\n",
        "from package import low\n",
        "def value():\n    from package.low import value\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.low import value\n",
    ],
)
def test_a_circle_is_found_however_it_is_closed(tmp_path, closing):
    package = tmp_path / "package"
    (package / "room").mkdir(parents=True)
    for name, source in {
        "__init__": "", "low": "from package.middle import value\n",
        "middle": "import package.room.high as high\n", "room/__init__": "", "room/high": "",
        "top": "from package import low, middle\nfrom package.room import high\n",
    }.items():  # fmt: skip
        (package / f"{name}.py").write_text(source, encoding="utf-8")
    graph = import_graph(package)
    assert graph["package.top"] == {"package.low", "package.middle", "package.room.high"}
    assert circle(graph) == []
    (package / "room" / "high.py").write_text(closing, encoding="utf-8")
    assert circle(import_graph(package)) == [
        "package.low", "package.middle", "package.room.high", "package.low"
    ]  # fmt: skip


def test_what_an_init_defines_is_imported_from_the_init(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from package.low import value\n", encoding="utf-8")
    (package / "low.py").write_text("from package import value\n", encoding="utf-8")
    assert circle(import_graph(package)) == ["package", "package.low", "package"]


def test_what_is_read_does_not_know_what_is_written(ours):
    """In the base, `store` stands on `reading`, and `machine` on both."""
    stands_on = {"reading": ("store", "machine", "loggers"), "store": ("machine", "loggers")}
    climbs = [
        (module, imported)
        for room, above in stands_on.items()
        for module, targets in ours.items()
        if module.startswith(f"sparsity_lab.{room}.")
        for imported in targets
        if imported.split(".")[1] in above
    ]
    assert not climbs
