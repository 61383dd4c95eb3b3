"""pytorch_model.bin: a pickle in a zip archive, read by torch with weights_only=True, and looked at before that.

What weights_only promises: an unpickler that builds tensors and plain containers alone and calls nothing else (torch's
serialization notes, `weights-only-security`). What it does not: a crafted file may exhaust memory, or make tensors
whose parts do not fit. So the file is refused unless it is an archive as torch.save writes it, with checksums that
hold, of a flat dictionary of dense tensors, each read whole rather than mapped: mapped, torch does not compare sizes.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.unreadable import stand_in

if TYPE_CHECKING:
    import torch

MOST_NAMES = 3
AGAIN = "Copy the file again, or take the model's safetensors"
BEGINNING = 512
BEGINS_ZIP = b"PK\x03\x04"
BEGINS_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the magic number of torch.save before torch 1.6


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of torch.save by name, on the CPU.

    Raises:
        SparsityLabError: it is another file, damaged, asks for more than tensors, or holds something else.
    """
    import torch

    _refuse_other_file(path)
    _refuse_damaged(path)
    _refuse_globals(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # whatever a file can make torch raise
        lines = str(error).strip().splitlines()
        _refuse(path, lines[0] if lines else type(error).__name__, error)
    return _tensors(path, content)


def mapped(path: Path, name: str) -> torch.Tensor:
    """One tensor of a file that `read_pickled` has read, mapped from it."""
    import torch

    value: torch.Tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[name]
    return value


def _refuse(path: Path, why: str, error: Exception | None = None, *, fix: str = AGAIN) -> NoReturn:
    raise SparsityLabError(f"Cannot load the weights {path}", why=why, fix=fix) from error


def _refuse_other_file(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            begins = stream.read(BEGINNING)
    except OSError as error:
        _refuse(path, error.strerror or str(error), error)
    if begins.startswith(BEGINS_ZIP):
        return
    if begins.startswith(BEGINS_LEGACY):
        _refuse(
            path,
            "It is in the format of torch before 1.6, which has no archive to look into",
            fix="Load it in a place you trust and save it again: torch.save(state, FILE), or save_pretrained",
        )
    if begins[8:9] == b"{":
        _refuse(path, "It is a safetensors file by another name", fix="Rename it to model.safetensors")
    unlike = "It is not a file of torch.save, or its beginning is damaged" if begins else "It is empty"
    _refuse(path, stand_in(begins) or unlike)


def _refuse_damaged(path: Path) -> None:
    """Refuse an archive that is cut short, packed, or whose parts do not have the checksums written in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            broken = None if packed else archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        _refuse(path, f"The archive is damaged or cut short: {error}", error)
    if packed:
        _refuse(path, f"Its part {packed[0].filename} is compressed, which torch.save never does")
    if broken is not None:
        _refuse(path, f"Its part {broken} does not have the checksum that is written in the file")


def _refuse_globals(path: Path) -> None:
    """Refuse a pickle that names anything but what tensors are made of; nothing of it is run to find out."""
    import torch

    try:
        asked = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception as error:  # whatever a file can make torch raise
        lines = str(error).strip().splitlines()
        _refuse(path, lines[0] if lines else type(error).__name__, error)
    if asked:
        more = f" and {len(asked) - MOST_NAMES} more" if len(asked) > MOST_NAMES else ""
        _refuse(
            path,
            f"It asks for {', '.join(asked[:MOST_NAMES])}{more}, which is not part of weights, and may be code that "
            "does harm",
            fix="Do not load it elsewhere either unless you trust whoever made it; take the model's safetensors",
        )


def _tensors(path: Path, content: Any) -> dict[str, torch.Tensor]:
    import torch

    if not isinstance(content, dict):
        _refuse(path, f"It holds a {type(content).__name__}, not tensors by name")
    for name, value in content.items():
        dense = isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_quantized
        if not isinstance(name, str) or not dense:
            kind = "a sparse or quantised tensor" if isinstance(value, torch.Tensor) else type(value).__name__
            _refuse(
                path,
                f"It holds {kind} under {name!r}, where a file of weights has a dense tensor",
                fix="Save the model again with save_pretrained; of a training state, its weights alone",
            )
    return dict(content)
