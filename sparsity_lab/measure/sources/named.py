"""Texts by the names that tables call them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.texts.dataset_name import FORM, DatasetName, TextPlace
from sparsity_lab.store import bundled

TEXT, DATASET = "--text", "--dataset"

logger = logging.getLogger("sparsity_lab.measure")


@dataclass(frozen=True)
class NamedText:
    """A text and what the table calls it."""

    name: str
    path: TextPlace


def the_text(text: Path | None, dataset: str | None) -> TextPlace:
    """The one text of a command that takes one.

    Raises:
        SparsityLabError: both were given, or neither; or a name that is not understood.
    """
    if text is not None and dataset is not None:
        raise SparsityLabError(
            f"Both --text {text} and --dataset {dataset} were given", fix="Leave one of them out"
        )
    if text is None and dataset is None:
        raise SparsityLabError(
            "There is no text to read", fix=f"Name a file or folder with --text, or --dataset {FORM}"
        )
    return text if dataset is None else dataset_of(dataset)  # type: ignore[return-value]


def bundled_text() -> Path:
    """The bundled text, for a command that was given none; said in a note."""
    logger.info(
        f"No text was given, so the bundled novel {bundled.TEXT} is read. The numbers depend on the text: for results "
        f"that you report, name a text of the domain you study with {TEXT} or {DATASET}."
    )
    return Path(bundled.TEXT)


def dataset_of(word: str) -> DatasetName:
    """A dataset as a user names it.

    Raises:
        SparsityLabError: not understood.
    """
    name = DatasetName(word.strip())
    _ = name.parts
    return name


def label_of(text: TextPlace) -> str:
    """What tables call a text that was given without a name."""
    return text.label if isinstance(text, DatasetName) else text.stem


def name_of(text: TextPlace) -> str:
    """The name of a text's file, or what tables call a dataset."""
    return text.label if isinstance(text, DatasetName) else text.name


def named_texts(first: TextPlace, others: Sequence[str], datasets: Sequence[str] = ()) -> list[NamedText]:
    """Texts of a transfer: the first by its own name, the others as NAME=FILE or by their stem, datasets alike.

    Raises:
        SparsityLabError: an empty name or file, or one name for two texts.
    """
    further = [named_text(word, option="--transfer") for word in others]
    further += [named_dataset(word, option="--transfer-dataset") for word in datasets]
    return distinct_texts([NamedText(label_of(first), first), *further], option="--transfer")


def texts_of(words: Sequence[str], datasets: Sequence[str] = ()) -> tuple[NamedText, ...]:
    """Texts given as NAME=FILE, or as a file that is called by its stem; datasets alike.

    Raises:
        SparsityLabError: an empty name or file, or one name for two texts.
    """
    texts = [named_text(word, option=TEXT) for word in words]
    texts += [named_dataset(word, option=DATASET) for word in datasets]
    return tuple(distinct_texts(texts, option=TEXT))


def named_text(word: str, *, option: str) -> NamedText:
    """A text given as NAME=FILE, or as a file that is called by its stem.

    Raises:
        SparsityLabError: an empty name or file; `option` is named.
    """
    name, equals, file = word.partition("=")
    if not equals or Path(word).exists():
        name, file = Path(word).stem, word
    if not name.strip() or not file.strip():
        raise SparsityLabError(f"{option} {word} is not understood", fix="Write NAME=FILE, or a file")
    return NamedText(name.strip(), Path(file.strip()))


def named_dataset(word: str, *, option: str) -> NamedText:
    """A dataset given as NAME=DATASET, or as a dataset that is called by the last part of its name.

    Raises:
        SparsityLabError: an empty name or dataset; `option` is named.
    """
    name, equals, dataset = word.partition("=")
    if not equals or DatasetName(word).is_local:
        return NamedText(label_of(dataset_of(word)), dataset_of(word))
    if not name.strip():
        raise SparsityLabError(f"{option} {word} is not understood", fix=f"Write NAME={FORM}, or {FORM}")
    return NamedText(name.strip(), dataset_of(dataset))


def distinct_texts(texts: list[NamedText], *, option: str) -> list[NamedText]:
    """The texts, none called like another.

    Raises:
        SparsityLabError: one name for two texts; `option` is named.
    """
    seen: dict[str, TextPlace] = {}
    for text in texts:
        if text.name in seen:
            raise SparsityLabError(
                f"Two texts are called {text.name!r}: {seen[text.name]} and {text.path}",
                fix=f"Write {option} NAME=FILE to name one",
            )
        seen[text.name] = text.path
    return texts
