"""Token files on disk, and the windows a model is trained on, in an order a seed decides.

A token file is the documents' ids one after the other, each document closed by the end of text, as
little-endian uint16 (or uint32 for large vocabularies), memory-mapped when read: no corpus has to fit into
memory. Windows are cut without overlap; every epoch walks all of them once in an order of its own,
PCG64(seed, epoch). Window i of a run is thus a function of (file, window, seed, i) and of nothing else.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store.records import write_json
from sparsity_lab.store.whole_files import writing
from sparsity_lab.tokenization import encoded_batch, largest_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_DOCUMENTS_AT_ONCE = 64


class TokenWriter:
    """Writes documents to a token file and its `.json`, a batch at a time.

    The ids go to a temporary name that is renamed when all are written, then the `.json` is written: a file
    with a `.json` next to it is whole. Use as a context manager; an error inside leaves no file.
    """

    def __init__(self, path: Path, *, tokenizer: PreTrainedTokenizerFast) -> None:
        self._path, self._tokenizer = path, tokenizer
        self._partial = path.with_name(f".{path.name}.partial")
        self._dtype = np.dtype("<u2" if largest_id(tokenizer) < 2**16 else "<u4")
        self._sha256 = hashlib.sha256()
        self._batch: list[str] = []
        self.tokens = self.documents = self.text_bytes = self.ends_inside = 0

    def __enter__(self) -> TokenWriter:
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._partial.open("wb")
        return self

    def add(self, text: str) -> None:
        """Append one document and an end of text."""
        self._batch.append(text)
        self.documents += 1
        self.text_bytes += len(text.encode())
        if len(self._batch) == _DOCUMENTS_AT_ONCE:
            self._flush()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._stream.close()
            self._partial.unlink(missing_ok=True)
            return
        self._flush()
        with writing(self._path):
            self._stream.close()
            self._partial.replace(self._path)
        write_json(self._path.with_suffix(".json"), self.about())

    def about(self) -> dict[str, object]:
        """Sizes and hash of what was written."""
        return {
            "tokens": self.tokens,
            "documents": self.documents,
            "text_bytes": self.text_bytes,
            "end_of_text_inside_documents": self.ends_inside,
            "dtype": self._dtype.str,
            "sha256": self._sha256.hexdigest(),
        }

    def _flush(self) -> None:
        documents = encoded_batch(self._tokenizer, self._batch)
        end = self._tokenizer.eos_token_id
        self.ends_inside += sum(ids.count(end) for ids in documents)
        ids = np.array([token for ids in documents for token in (*ids, end)], dtype=self._dtype)
        self._batch = []
        self.tokens += len(ids)
        self._sha256.update(ids.tobytes())
        with writing(self._path):
            self._stream.write(ids.tobytes())


def read_tokens(path: Path) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The ids of a token file, memory-mapped.

    Raises:
        SparsityLabError: it is not there, not whole, or shorter than its `.json` says.
    """
    fix = f"Restore the file, or remove {path.parent} to have the data prepared again"
    try:
        about = read_object(path.with_suffix(".json"), fix=fix)
        ids, tokens = np.memmap(path, dtype=np.dtype(about["dtype"]), mode="r"), int(about["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SparsityLabError(f"Cannot read the token file {path}", why=str(error), fix=fix) from error
    if len(ids) != tokens:
        raise SparsityLabError(
            f"The token file {path} holds {len(ids):,} tokens", why=f"Its .json says {tokens:,}", fix=fix
        )
    return ids


class TrainingWindows:
    """The windows of a run in order, as a map-style dataset of `torch.utils.data`.

    Args:
        path: the token file.
        window: tokens of one window.
        count: how many windows the run takes; beyond the file's own number they repeat in another order.
        seed: of the order.
    """

    def __init__(self, path: Path, *, window: int, count: int, seed: int) -> None:
        ids = read_tokens(path)
        self.per_epoch = len(ids) // window
        if not self.per_epoch:
            raise SparsityLabError(
                f"The corpus has {len(ids):,} tokens, less than one window of {window:,}",
                fix="Give more text or a shorter window",
            )
        self._windows = ids[: self.per_epoch * window].reshape(self.per_epoch, window)
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        """Window `index` of the run, int64 of shape (window,)."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        epoch, place = divmod(index, self.per_epoch)
        return self._windows[_order(self._seed, epoch, self.per_epoch)[place]].astype(np.int64)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, windows: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(windows)
