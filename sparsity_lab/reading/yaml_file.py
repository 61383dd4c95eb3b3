"""YAML of a user's as plain values: what `yaml.safe_load` makes of it, less what it lets pass in silence.

A key that is given twice would lose its first value, a few lines of nested aliases can expand to 10^9 values that no
program ever needs, and YAML reads 0100 as the octal 64 and 1:30 as 90 seconds; all are refused, with their line.
Tags that would make Python objects are not part of the safe loader.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.texts.text_file import is_text
from sparsity_lab.reading.unreadable import why_unread

MOST_BYTES = 10_000_000
MOST_VALUES = 100_000  # aliases written out
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_bx]|.*:)")


def read_yaml(path: Path) -> object:
    """The content of a YAML file: mappings, lists, words, numbers, dates.

    Raises:
        SparsityLabError: unreadable, not UTF-8, no YAML, of a tag that is not plain, a key that is given twice, a
            number in base 8 or 60, a word that is not Unicode, or too large once its aliases are written out.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise _unread(path, f"It is larger than {MOST_BYTES:,} bytes")
        loader = yaml.SafeLoader(raw.decode("utf-8-sig"))
        loader.name = path.name  # in what it says of a mistake
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, path)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    # A tag such as !!bool on a word that is none makes the loader itself fail, in many ways.
    except (
        OSError,
        RecursionError,
        yaml.YAMLError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise _unread(path, why_unread(path, error) or type(error).__name__) from error


def key_lines(path: Path) -> dict[str, list[int]]:
    """Where the keys of a YAML file are that `read_yaml` has read: `training.tokens` -> its lines.

    A key goes by its own name and that of the mapping it is in; the items of a list go by the list's.
    """
    lines: dict[str, list[int]] = {}
    waiting = [("", yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader))]
    while waiting:
        above, node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(above, item) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value)
                lines.setdefault(f"{above}.{name}" if above else name, []).append(key.start_mark.line + 1)
                waiting.append((name, value))
    return lines


def _check(node: yaml.Node, path: Path) -> None:
    sizes: dict[int, int] = {}
    if _size(node, sizes, path) > MOST_VALUES:
        raise _unread(path, f"Its aliases, written out, make more than {MOST_VALUES:,} values")


def _size(node: yaml.Node, sizes: dict[int, int], path: Path) -> int:
    """How many values a node expands to; each node is looked at once."""
    if id(node) not in sizes:
        sizes[id(node)] = MOST_VALUES + 1  # of a node inside itself, which has no end
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node, path)
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        else:
            _refuse_odd(node, path)
        sizes[id(node)] = min(1 + sum(_size(child, sizes, path) for child in children), MOST_VALUES + 1)
    return sizes[id(node)]


def _refuse_twice(node: yaml.MappingNode, path: Path) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in seen:
            raise SparsityLabError(
                f"{path}: the key {key.value!r} is given twice, in lines {seen[key.value]} and {line}",
                fix="Keep one of them",
            )
        seen[key.value] = line


def _refuse_odd(node: yaml.Node, path: Path) -> None:
    """Refuse a number that YAML does not read in base 10, and half of a character."""
    line = node.start_mark.line + 1
    if node.tag in _NUMBERS and _OTHER_BASE.match(node.value):
        raise SparsityLabError(
            f"{path}: {node.value} in line {line} is not read in base 10 by YAML",
            fix="Write the number without a leading zero or a colon, or a word in quotes",
        )
    if not is_text(node.value):
        raise SparsityLabError(f"{path}: the word in line {line} is not Unicode", fix="Correct its escapes")


def _unread(path: Path, why: str) -> SparsityLabError:
    return SparsityLabError(
        f"Cannot read the config {path}",
        why=why[:500],
        fix="Write plain YAML in UTF-8: keys, a colon, values",
    )
