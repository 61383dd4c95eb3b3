"""Every table is one list of columns, each with a meaning; no row has what no column describes."""

import ast
import csv
import importlib
import pkgutil
from pathlib import Path

import pytest

from sparsity_lab.store import table_columns
from sparsity_lab.store.columns import ERROR, Column, TableColumns

PACKAGE = Path(__file__).parents[1] / "sparsity_lab"
ROOMS = ("measure", "ladder", "bench", "fitting/density", "fitting/study")
MODULES = [
    importlib.import_module(f"{table_columns.__name__}.{found.name}")
    for found in pkgutil.iter_modules(table_columns.__path__)
]
TABLES = {
    f"{module.__name__.rpartition('.')[2]}.{table.name}": table
    for module in MODULES
    for table in vars(module).values()
    if isinstance(table, TableColumns)
}
# Their columns depend on what they read: one for each task, layer or rule; and a study's tables without rows.
WIDE = {
    "measure/lm_eval/evaluation.py",
    "measure/token_heat.py",
    "fitting/study/outcome.py",
    "fitting/study/report.py",
}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_has_a_meaning_and_every_number_its_error_behind_it(name):
    table = TABLES[name]
    assert all(column.meaning for column in table.columns)
    assert len(set(table.header)) == len(table.header)
    for place, column in enumerate(table.columns):
        assert not column.has_error or table.header[place + 1] == column.key + ERROR
    shown = [column.key for column in table.for_readers()]
    assert not table.markdown or sorted(shown) == sorted(c.key for c in table.columns if c.for_readers)


def test_every_line_is_of_a_table_that_is_written():
    (folder,) = map(Path, table_columns.__path__)
    for path in folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            lines = [(line["table"], line["key"]) for line in csv.DictReader(stream)]
        tables = {table.name: table for name, table in TABLES.items() if name.startswith(f"{path.stem}.")}
        assert all(key in tables[table].header for table, key in lines)
        assert len(set(lines)) == len(lines)


def test_no_room_writes_a_table_in_another_way():
    others = {
        path.relative_to(PACKAGE).as_posix()
        for room in ROOMS
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and {a.name for a in node.names} & {"to_csv", "write_table"}
            and node.module == "sparsity_lab.store.tables")
        or (isinstance(node, ast.Attribute) and node.attr in ("to_csv", "write_table"))
    }  # fmt: skip
    assert others == WIDE


def test_a_key_with_a_blank_is_a_column():
    """A task may be called ARC MC."""
    table = TableColumns("t", Column("model", heading="model"), Column("ARC MC", heading="ARC MC"))
    assert [column.key for column in table.for_readers()] == ["model", "ARC MC"]
