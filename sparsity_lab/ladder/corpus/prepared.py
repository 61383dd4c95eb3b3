"""Data that were prepared before: whether they are whole, and still of the settings and the text that are asked for."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import DataSpec, TokenizerSpec
from sparsity_lab.ladder.corpus import identity
from sparsity_lab.ladder.corpus.sources import open_corpus
from sparsity_lab.ladder.corpus.tokenizer import for_training, load_tokenizer, refuse_ids_beyond
from sparsity_lab.measure.checkpoint.fingerprints import file_sha256
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store.records import as_json

logger = logging.getLogger(__name__)

_ANOTHER = "Name another directory with --output"


@dataclass(frozen=True)
class PreparedData:
    """The files of a prepared corpus."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def tokenizer(self) -> Path:
        """Directory `AutoTokenizer` loads."""
        return self.folder / "tokenizer"

    @property
    def train(self) -> Path:
        """Token file of the training part."""
        return self.folder / "train.bin"

    @property
    def validation_text(self) -> Path:
        """The held-out part as text."""
        return self.folder / "validation.txt"

    @property
    def train_tokens(self) -> int:
        """Tokens of the training part."""
        return int(self.manifest["train"]["tokens"])

    @property
    def train_sha256(self) -> str:
        """Hash of the training token file."""
        return str(self.manifest["train"]["sha256"])


def existing_data(
    data: DataSpec, *, tokenizer: TokenizerSpec, output: Path, seed: int = 0, replace: bool = False
) -> PreparedData | None:
    """Data prepared before, or None where there are none; with `replace`, also where other settings made them.

    Raises:
        SparsityLabError: the folder holds data of other settings, text or tokenizer, or one of its files changed.
    """
    path = output / "manifest.json"
    if not os.path.exists(path):
        return None
    fix = f"Remove {output}"
    manifest = read_object(path, fix=fix, shape={"train": {"tokens": int, "sha256": str}, "data": dict})
    if "settings" in manifest:
        manifest = read_object(path, fix=fix, shape={"settings": dict, "text": dict, "prepared": list})
    prepared = PreparedData(output, manifest)
    if not _has_shape(manifest):
        raise SparsityLabError(
            f"Cannot read {path}", why="It is not in the shape in which prepared data are described", fix=fix
        )
    if (why := _differing(prepared, data, tokenizer, seed=seed)) is not None:
        if replace:
            logger.info("%s is prepared again, nothing was trained on it: %s.", output, why)
            return None
        raise SparsityLabError(
            f"{output} holds the data of another configuration",
            why=why,
            fix=f"{_ANOTHER}, or remove this one",
        )
    _refuse_damaged(prepared)
    return prepared


def _has_shape(manifest: dict[str, Any]) -> bool:
    """Whether the optional parts of a manifest are of their types."""
    files = manifest.get("prepared", [])
    return (
        all(
            isinstance(manifest.get(key) or {}, dict)
            for key in ("tokenizer", "settings", "text", "validation")
        )
        and isinstance(files, list)
        and all(isinstance(file, dict) and isinstance(file.get("name"), str) for file in files)
    )


def _differing(prepared: PreparedData, data: DataSpec, tokenizer: TokenizerSpec, *, seed: int) -> str | None:
    """Which setting the data differ in, or None.

    Raises:
        SparsityLabError: the settings are the same, and the text or the tokenizer under them is not.
    """
    manifest = prepared.manifest
    spec = as_json(asdict(data))
    then = manifest.get("data") or {}
    other_text = any(then.get(key) != spec[key] for key in ("corpus", "files", "dataset"))
    if "settings" not in manifest:
        return _differing_earlier(manifest, spec, tokenizer, seed=seed)
    if why := identity.differing(manifest["settings"], identity.settings_of(data, tokenizer, seed=seed)):
        return why
    changed = _text_differing(prepared, data, moved=other_text)
    if changed is not None and other_text:
        return changed
    if changed is not None:
        raise SparsityLabError(
            f"The text is not what {prepared.folder} was prepared from",
            why=changed,
            fix=f"Put the earlier text back, or {_ANOTHER[0].lower()}{_ANOTHER[1:]}",
        )
    _refuse_other_tokenizer(prepared, tokenizer)
    return None


def _text_differing(prepared: PreparedData, data: DataSpec, *, moved: bool) -> str | None:
    """How the text differs; where it is gone, or an environment of Python has changed, that is said and it counts as
    the same, because nothing is read from it again."""
    then = prepared.manifest["text"]
    try:
        now = open_corpus(data).fingerprint()
    except SparsityLabError as error:
        if moved:
            raise
        logger.warning("%s: %s; the data prepared from it are used.", prepared.folder, error.what)
        return None
    if then.get("sources") != now.get("sources") and then.get("kind") == now.get("kind"):
        logger.warning(
            "The Python sources of this environment have changed since %s was prepared from them; the prepared data "
            "are used.", prepared.folder,
        )  # fmt: skip
    if "commit" in now and None in (then.get("commit"), now["commit"]):
        logger.warning("Whether the dataset %s changed could not be looked up.", data.dataset)
    return identity.text_differing(then, now)


def _differing_earlier(
    manifest: dict[str, Any], spec: dict[str, Any], tokenizer: TokenizerSpec, *, seed: int
) -> str | None:
    """The same for data of a version that kept no hashes of their text: as named then, as named now."""
    kept = [key for key in spec if key not in ("max_epochs", "license_note")]
    pairs = [
        ({key: (manifest.get("data") or {}).get(key) for key in kept}, {key: spec[key] for key in kept}),
        (manifest.get("tokenizer") or {}, asdict(tokenizer)),
        ({"seed": manifest.get("seed")}, {"seed": seed}),
    ]
    why = next((why for then, now in pairs if (why := identity.differing(then, now))), None)
    if why is None:
        logger.warning(
            "The data were prepared by an earlier version: whether their text has changed cannot be checked."
        )
    return why


def _refuse_other_tokenizer(prepared: PreparedData, spec: TokenizerSpec) -> None:
    """Refuse a given tokenizer that is not the one the data were written with.

    Raises:
        SparsityLabError: it gives other ids, or has more of them than the vocabulary.
    """
    if spec.path is None:
        return
    used = load_tokenizer(prepared.tokenizer)
    refuse_ids_beyond(used, spec.vocabulary, name=spec.path)
    try:
        given = for_training(spec.path)
    except SparsityLabError as error:
        logger.warning("%s; the one in %s is used.", error.what, prepared.tokenizer)
        return
    if (
        used.backend_tokenizer.to_str() != given.backend_tokenizer.to_str()
        or used.eos_token_id != given.eos_token_id
    ):
        raise SparsityLabError(
            f"The tokenizer {spec.path} is not the one that {prepared.folder} was written with",
            why="Its vocabulary, merges or end of text differ",
            fix=f"Put the earlier one back, or {_ANOTHER[0].lower()}{_ANOTHER[1:]}",
        )


def _refuse_damaged(prepared: PreparedData) -> None:
    """Refuse data of which a file is not what was written; earlier versions kept the hashes of the tokens alone.

    Raises:
        SparsityLabError: one is not there or has another hash.
    """
    parts = {f"{part}.bin": prepared.manifest.get(part) for part in ("train", "validation")}
    written = [(name, part.get("sha256")) for name, part in parts.items() if part is not None]
    written += [(file["name"], file.get("sha256")) for file in prepared.manifest.get("prepared", ())]
    for name, sha256 in dict.fromkeys(written):
        path = prepared.folder / name
        if not path.exists() or file_sha256(path) != sha256:
            raise SparsityLabError(
                f"{path} is not the file that was prepared",
                why="Its hash differs from what manifest.json says",
                fix=f"Restore it, or remove {prepared.folder} to have the data prepared again",
            )
