"""A name as the name of a file: distinct names give distinct files, on every disk, whatever other names there are.

A simple name is its own file name. Any other becomes its readable part and a hash of the whole: names with characters
that a path or a disk does not take, long names, and names that differ from another in capitals alone, because some
disks do not tell these apart. Of `a` and `A` the usual writing is the simple one: small letters, but `0.1B-relu`
for a name that begins with a size, and `L4`, `F128`, `D20M` for the words of a ladder's runs.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.texts.text_file import is_text

MOST_BYTES = 100  # a disk takes 255, some 143; endings and temporary names need room
_READABLE_BYTES = 60
_HASH_DIGITS = 10
_SIMPLE = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_-])?", re.IGNORECASE | re.ASCII)
_HASHED = re.compile(rf".*-[0-9a-f]{{{_HASH_DIGITS}}}", re.IGNORECASE)
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # not to be had on Windows
_USUAL_CAPITALS = re.compile(r"^[\d.]+[bmk](?=-|$)|(?<![a-z\d.])([lf](?=\d)|d[\d.]+m(?![a-z\d]))")
_REFUSED = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]|^[ .-]|[ .]$')


def file_name(name: str, *, taken: str = "") -> str:
    """The file name of a name, without an ending; the same name always gives the same.

    Args:
        name: any text.
        taken: a regular expression of the file names that mean something else in the folder.
    """
    if _is_simple(name) and not re.fullmatch(taken, name, re.IGNORECASE):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    readable = "".join(c if c.isalnum() or c in "._-" else "_" for c in unicodedata.normalize("NFC", name))
    readable = readable.encode()[:_READABLE_BYTES].decode("utf-8", "ignore").strip(".-")
    return f"{'_' if _DEVICE.fullmatch(readable) else ''}{readable or 'name'}-{digest}"


def is_portable(name: str) -> bool:
    """Whether a name that the user chose for a file or folder is one on every disk, as it is."""
    return bool(name) and not (
        _REFUSED.search(name) or _DEVICE.fullmatch(name) or len(name.encode()) > MOST_BYTES
    )


def refuse_undecodable(path: str) -> None:
    """Refuse a path that is not UTF-8: no table, record or lock could name it.

    Raises:
        SparsityLabError: the path holds bytes that are not UTF-8.
    """
    if not is_text(path):
        raise SparsityLabError(
            f"{path!r} is not UTF-8",
            why="Records, tables and locks could not name it",
            fix="Rename the file or folder",
        )


def _is_simple(name: str) -> bool:
    if len(name) > MOST_BYTES or not _SIMPLE.fullmatch(name):
        return False
    usual = _USUAL_CAPITALS.sub(lambda part: part[0].upper(), name.lower())
    return name == usual and not _HASHED.fullmatch(name) and not _DEVICE.fullmatch(name)
