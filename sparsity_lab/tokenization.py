"""How text becomes token ids, for every command: without truncation, padding, dropout and special tokens around it.

Ids are those that `tokenizer.json` gives when the `tokenizers` library reads it alone. Special tokens written out in
a text are one id each, unless tokenizer_config.json sets `split_special_tokens`. What a text loses on its way to ids
and back is counted here as well.
"""

from __future__ import annotations

import copy
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import labels
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import json_or_none

LARGEST_LOSS = 0.2  # share of a text's visible characters that may be lost before it is refused
SHOWN = 24  # characters of a text in an example
COMMONEST = 3  # lost characters that are named
UNREAD = "The tokenizer cannot read this text"  # some have no unknown token to fall back on
COPY_FIX = "Copy the model's own tokenizer files there again"


@dataclass(frozen=True)
class Encoded:
    """A text's token ids.

    Attributes:
        ids: without special tokens around them.
        encoding: of the `tokenizers` library, or None where another library tokenized.
    """

    ids: list[int]
    encoding: Any = None

    def span(self, index: int) -> tuple[int, int] | None:
        """Characters [start, end) of the text that id `index` stands for, or None where nobody knows."""
        found: tuple[int, int] | None = None if self.encoding is None else self.encoding.token_to_chars(index)
        return found

    def cuts(self, count: int) -> bool:
        """Whether id `count` and the one before it are parts of one character."""
        before, after = self.span(count - 1), self.span(count)
        return before is not None and after is not None and after[0] < before[1]


def read_tokenizer(folder: Path) -> Any | None:
    """The tokenizer of `tokenizer.json` in a folder, or None where there is no such file.

    Raises:
        SparsityLabError: the file cannot be read.
        ImportError: the `tokenizers` library is not installed.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    from tokenizers import Tokenizer

    with _explained(f"Cannot read the tokenizer {path}"):
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = tokenizer_config(folder).get("split_special_tokens") is True
    return tokenizer


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json in a folder holds; nothing where it is not there or not readable."""
    config = json_or_none(folder / "tokenizer_config.json")
    return config if isinstance(config, dict) else {}


def encoded(tokenizer: Any, text: str) -> Encoded:
    """The token ids of a text.

    Args:
        tokenizer: of `tokenizers` or of `transformers`; left as it is.
        text: the whole text.

    Raises:
        SparsityLabError: the tokenizer cannot read it.
    """
    backend = backend_of(tokenizer)
    if backend is not None:
        with _explained(UNREAD):
            encoding = plain(backend).encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, encoding)
    ids = tokenizer(text, add_special_tokens=False, truncation=False, padding=False, verbose=False)[
        "input_ids"
    ]
    return Encoded(list(ids))


def encoded_batch(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, as `encoded` gives them, in parallel where the tokenizer can."""
    backend = backend_of(tokenizer)
    if backend is None:
        return [encoded(tokenizer, text).ids for text in texts]
    with _explained(UNREAD):
        return [one.ids for one in plain(backend).encode_batch_fast(list(texts), add_special_tokens=False)]


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """What the `tokenizers` library raises, which are bare exceptions, as one paragraph."""
    try:
        yield
    except Exception as error:
        raise SparsityLabError(what, why=str(error)[:300], fix=COPY_FIX) from error


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text."""
    inner = encoded(tokenizer, "a").ids
    backend = backend_of(tokenizer)
    if backend is not None:
        whole = list(plain(backend).encode("a", add_special_tokens=True).ids)
    else:
        whole = list(tokenizer("a", add_special_tokens=True, truncation=False, padding=False)["input_ids"])
    for start in range(len(whole) - len(inner) + 1):
        if inner and whole[start : start + len(inner)] == inner:
            return whole[:start], whole[start + len(inner) :]
    return whole[:1], whole[1:]


def backend_of(tokenizer: Any) -> Any | None:
    """The tokenizer of the `tokenizers` library behind one of transformers, or None where there is none."""
    if hasattr(tokenizer, "no_truncation"):
        return tokenizer
    return getattr(tokenizer, "backend_tokenizer", None)


def plain(backend: Any) -> Any:
    """The tokenizer itself where a text's ids are all it gives, else a copy without what `disturbances` names."""
    if not disturbances(backend):
        return backend
    copied = copy.deepcopy(backend)
    copied.encode_special_tokens = backend.encode_special_tokens
    copied.no_truncation()
    copied.no_padding()
    for name in ("dropout", "alpha"):
        if getattr(copied.model, name, None) is not None:
            setattr(copied.model, name, None)
    return copied


def disturbances(tokenizer: Any) -> list[str]:
    """What in a tokenizer's file would cut, pad or vary the ids of a text; `encoded` switches it off."""
    backend = backend_of(tokenizer)
    if backend is None:
        return []
    found = []
    if backend.truncation is not None:
        found.append(f"truncation to {backend.truncation['max_length']} tokens")
    if backend.padding is not None:
        length = backend.padding.get("length")
        found.append("padding" if length is None else f"padding to {length} tokens")
    if getattr(backend.model, "dropout", None):
        found.append(f"BPE dropout {backend.model.dropout:g}")
    if getattr(backend.model, "alpha", None) is not None:
        found.append("sampling of subwords")
    return found


def largest_id(tokenizer: Any) -> int:
    """The largest id in a tokenizer's vocabulary, added tokens included; ids may have gaps."""
    return max(tokenizer.get_vocab().values(), default=0)


def text_notes(tokenizer: Any, text: str, ids: Sequence[int], *, name: object) -> list[str]:
    """What a text lost on its way to ids, and the special tokens in it; nothing where the ids give it back.

    Args:
        tokenizer: made the ids.
        text: the part of a text that the ids stand for.
        ids: its token ids; the last may be a part of a character.
        name: of the tokenizer, for what is said.

    Raises:
        SparsityLabError: more than a fifth of the visible characters are lost.
    """
    notes, back = _special_notes(tokenizer, text, ids), decoded(tokenizer, ids)
    if _is_same(text, back):
        return notes
    wanted, known, unknowns = _without_unknown(tokenizer, text, ids, back=back)
    why = f"{unknowns:,} of {len(ids):,} tokens are unknown. " if unknowns else ""
    why += _example(text, back)
    share = sum(_lost(_visible(wanted), _visible(known)).values()) / max(1, len(_visible(wanted)))
    if share > LARGEST_LOSS:
        raise SparsityLabError(
            f"The tokenizer of {name} cannot write this text: {share:.0%} of its visible characters are lost",
            why=why,
            fix="Give a text in a language and script the tokenizer knows, or the model's own tokenizer files",
        )
    lost = _lost(wanted, known)
    count = max(sum(lost.values()), sum(_lost(known, wanted).values()))
    common = ", ".join(f"{letter!r} {times:,}" for letter, times in lost.most_common(COMMONEST))
    notes.append(
        f"The tokenizer of {name} does not give the text back: {count:,} of {len(text):,} characters are lost, "
        f"changed or added{f' ({common})' if common else ''}. {why}"
    )
    return notes


def loses(tokenizer: Any, text: str, ids: Sequence[int]) -> bool:
    """Whether something is to be said of a text's ids: special tokens in it, or that they do not give it back."""
    return bool(_special_notes(tokenizer, text, ids)) or not _is_same(text, decoded(tokenizer, ids))


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens written out."""
    backend = backend_of(tokenizer)
    if backend is not None:
        decoder = _decoder_left_out(backend)
        if decoder is not None:
            return str(decoder.decode([backend.id_to_token(token) for token in ids]))
        return str(backend.decode(list(ids), skip_special_tokens=False))
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _decoder_left_out(backend: Any) -> Any | None:
    """The decoder that belongs to a pre-tokenizer of bytes or blanks, where a file names none."""
    if backend.decoder is not None or backend.pre_tokenizer is None:
        return None
    from tokenizers import decoders

    state = backend.pre_tokenizer.__getstate__()
    if b'"ByteLevel"' in state:
        return decoders.ByteLevel()
    return decoders.Metaspace() if b'"Metaspace"' in state else None


def _is_same(text: str, back: str) -> bool:
    """Equal but for one blank in front, which many tokenizers add, and the rest of a last character cut in two."""
    text, back = text.removeprefix(" "), back.removeprefix(" ")
    whole = back.rstrip("\ufffd")
    return text == back or (whole != back and text.startswith(whole) and len(text) - len(whole) <= 1)


def _special_notes(tokenizer: Any, text: str, ids: Sequence[int]) -> list[str]:
    backend = backend_of(tokenizer)
    if backend is None:
        return []
    present, split = set(ids), bool(backend.encode_special_tokens)
    names = [
        token.content
        for number, token in backend.get_added_tokens_decoder().items()
        if token.special and (split or number in present)
    ]
    counted = {name: times for name in names if (times := text.count(name))}
    if not counted:
        return []
    listed = ", ".join(f"{name} {labels.counted(times, 'time')}" for name, times in counted.items())
    way = "as ordinary text, as split_special_tokens asks" if split else "as one token each"
    return [f"Special tokens are written out in the text and read {way}: {listed}"]


def _unknown_id(tokenizer: Any) -> int | None:
    backend = backend_of(tokenizer)
    if backend is None:
        found: int | None = getattr(tokenizer, "unk_token_id", None)
        return found
    if hasattr(backend.model, "unk_token"):
        name = backend.model.unk_token
        return None if name is None else backend.token_to_id(name)
    return json.loads(backend.model.__getstate__()).get("unk_id")  # Unigram keeps an id


def _without_unknown(tokenizer: Any, text: str, ids: Sequence[int], *, back: str) -> tuple[str, str, int]:
    """A text and what came back of it, less the unknown token, and how many stand for something unknown."""
    unknown, backend = _unknown_id(tokenizer), backend_of(tokenizer)
    if unknown is None or unknown not in ids:
        return text, back, 0
    name = "" if backend is None else backend.id_to_token(unknown) or ""
    spelled = text.count(name) if name else 0  # some texts spell it out
    known = decoded(tokenizer, [token for token in ids if token != unknown])
    return text.replace(name, "") if name else text, known, max(0, list(ids).count(unknown) - spelled)


def _visible(text: str) -> str:
    """What is left to see when letter case, width, composition and white space are no matter."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _lost(text: str, back: str) -> Counter[str]:
    return Counter(text) - Counter(back)


def _example(text: str, back: str) -> str:
    """The first place where two texts part."""
    text, back = text.removeprefix(" "), back.removeprefix(" ")
    pairs = enumerate(zip(text, back, strict=False))
    first = next((i for i, (one, other) in pairs if one != other), min(len(text), len(back)))
    start = max(0, first - SHOWN // 2)
    return f"{text[start : start + SHOWN]!r} comes back as {back[start : start + SHOWN]!r}"
