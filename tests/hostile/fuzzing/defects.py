"""Small defects of files: what copying, editing, merging and other tools do to them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

from sparsity_lab.store.records import seal
from tests.hostile.made_up import ODD_NUMBERS, ODD_WORDS

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**70, 1e308, -0.0, 0.5, [], {}, [[]], {"a": 1}, [1], "", "a", "nan", "1", [None],
    float("nan"), float("inf"), "\ud800", "x" * 300, "1e400",
]  # fmt: skip
CONFLICT = "<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> branch\n"


def break_one(draw: Random, path: Path) -> str:
    """Do something to a file, or to one below a folder; what was done."""
    if path.is_dir() and draw.random() < 0.9:
        below = sorted(one for one in path.rglob("*") if one.is_file())
        path = draw.choice(below) if below else path
    kinds = [_gone, _unreadable, _other_kind, _nowhere]
    if path.is_file():
        whole = path.read_bytes()
        kinds += [_cut, _emptied, _noise, *([_of_its_kind(path)] * 8 if _of_its_kind(path) else [])]
        if b"\0" not in whole:
            kinds += [_lines, _lines, _encoding, _conflict]
    kind = draw.choice(kinds)
    return f"{path}: {kind(draw, path)}"


def _gone(draw: Random, path: Path) -> str:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return "gone"


def _unreadable(draw: Random, path: Path) -> str:
    mode = draw.choice((0o000, 0o200, 0o400, 0o500))
    path.chmod(mode)
    return f"mode {mode:03o}"


def _other_kind(draw: Random, path: Path) -> str:
    """A folder where a file was, and the other way round."""
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("a\n", encoding="utf-8")
        return "a file"
    path.unlink()
    path.mkdir()
    return "a folder"


def _nowhere(draw: Random, path: Path) -> str:
    _gone(draw, path)
    path.symlink_to(draw.choice((path.name, "/nowhere/at/all")))
    return f"a link to {path.readlink()}"


def _cut(draw: Random, path: Path) -> str:
    data = path.read_bytes()
    at = draw.randrange(len(data) + 1)
    path.write_bytes(data[:at])
    return f"cut at {at}"


def _emptied(draw: Random, path: Path) -> str:
    path.write_bytes(draw.choice((b"", b"\n", b"\xef\xbb\xbf", b"\0" * 100)))
    return "emptied"


def _noise(draw: Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    at = draw.randrange(len(data) + 1)
    data[at : at + draw.randrange(9)] = draw.randbytes(draw.randrange(9))
    path.write_bytes(bytes(data))
    return f"noise at {at}"


def _lines(draw: Random, path: Path) -> str:
    """A line less, twice, moved, empty, or with a word changed."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) or ["\n"]
    at = draw.randrange(len(lines))
    kind = draw.choice(("less", "twice", "blank", "moved", "word"))
    if kind == "less":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind == "blank":
        lines.insert(at, "\n")
    elif kind == "moved":
        lines.insert(draw.randrange(len(lines)), lines.pop(at))
    else:
        words = list(re.finditer(r"[\w.+-]+", lines[at]))
        if words:
            one, new = draw.choice(words), draw.choice([*ODD_WORDS, *ODD_NUMBERS])
            lines[at] = lines[at][: one.start()] + new + lines[at][one.end() :]
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return f"line {at + 1} {kind}"


def _encoding(draw: Random, path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    kind = draw.choice(("utf-16", "utf-8-sig", "cp500", "crlf", "cr"))
    if kind in ("crlf", "cr"):
        path.write_bytes(text.replace("\n", "\r\n" if kind == "crlf" else "\r").encode())
    else:
        path.write_bytes(text.encode(kind, "replace"))
    return kind


def _conflict(draw: Random, path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) or ["\n"]
    at = draw.randrange(len(lines))
    lines[at] = CONFLICT.format(ours=lines[at], theirs=lines[at].replace("1", "2"))
    path.write_text("".join(lines), encoding="utf-8")
    return f"a conflict at line {at + 1}"


def _of_its_kind(path: Path) -> Any:
    return {".json": _json, ".csv": _csv, ".yaml": _value, ".toml": _value, ".jsonl": _value}.get(path.suffix)


def _json(draw: Random, path: Path) -> str:
    """A value changed or a key gone, somewhere; a record may get the hash that it then has."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "as it was"
    at = _place(draw, document)
    if not at:
        return "as it was"
    holder = document
    for key in at[:-1]:
        holder = holder[key]
    if draw.random() < 0.3:
        del holder[at[-1]]
        new = "no more"
    else:
        holder[at[-1]] = new = draw.choice(ODD_VALUES)
    if isinstance(document, dict) and "record_sha256" in document and draw.random() < 0.8:
        with contextlib.suppress(ValueError):  # NaN has no hash
            document = seal(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return f"{at} is {new!r}"


def _place(draw: Random, document: Any) -> tuple[Any, ...]:
    """Somewhere in a document, places near its top as often as those deep in it."""
    at: tuple[Any, ...] = ()
    while True:
        keys = (
            list(document)
            if isinstance(document, dict)
            else range(len(document))
            if isinstance(document, list)
            else ()
        )
        if not keys or (at and draw.random() < 0.4):
            return at
        at = (*at, draw.choice(list(keys)))
        document = document[at[-1]]


def _csv(draw: Random, path: Path) -> str:
    """A cell changed, or a column renamed, twice or gone."""
    rows = list(csv.reader(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    if not rows or not rows[0]:
        return "as it was"
    column, kind = (
        draw.randrange(len(rows[0])),
        draw.choice(("cell", "cell", "renamed", "twice", "gone", "alike")),
    )
    if kind == "cell":
        row = draw.choice(rows)
        row[min(column, len(row) - 1)] = draw.choice([*ODD_NUMBERS, *ODD_WORDS])
    elif kind == "renamed":
        rows[0][column] = draw.choice(ODD_WORDS)
    elif kind == "alike":
        for row in rows[1:]:
            row[column : column + 1] = ["0"]
    else:
        for row in rows:
            row[column : column + 1] = [] if kind == "gone" else row[column : column + 1] * 2
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8", errors="replace", newline="")
    return f"column {column + 1} {kind}"


def _value(draw: Random, path: Path) -> str:
    """A value behind a key changed."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = list(re.finditer(r"(?:: |= )([^\n,{\[]+)", text))
    if not found:
        return "as it was"
    one = draw.choice(found)
    new = json.dumps(draw.choice(ODD_VALUES)) if draw.random() < 0.7 else draw.choice(ODD_WORDS)
    path.write_text(text[: one.start(1)] + new + text[one.end(1) :], encoding="utf-8", errors="replace")
    return f"{one[0].strip()!r} is {new!r}"
