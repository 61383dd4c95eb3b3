"""Where a checkpoint and its tokenizer come from, and which commit of the Hub a name means today."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.measure.checkpoint.weight_files import refuse_adapter

logger = logging.getLogger(__name__)
ON_HUB = re.compile(r"([\w-][\w.-]*(?:/[\w.-]+)?)@(.*)", re.ASCII | re.DOTALL)  # ID@REVISION
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt",
    "spiece.model", "special_tokens_map.json", "added_tokens.json", "tekken.json", "config.json",
)  # fmt: skip
TOKENIZER_SIGNS = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json", "spiece.model",
    "tekken.json",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from: a local directory, a GGUF file, or a Hub id with a revision.

    Attributes:
        model: the directory, file or id, as given.
        revision: branch, tag or commit of a Hub id, as given.
        commit: hash of the commit that `revision` means; see `pinned`.
        tokenizer: where its tokenizer comes from instead, where that was given.
        here: read nothing but this machine's cache, because the Hub did not answer.
    """

    model: str
    revision: str | None = None
    commit: str | None = None
    tokenizer: Source | None = None
    here: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, word: str, revision: str | None = None, *, tokenizer: str | None = None) -> Source:
        """The source of a checkpoint as a user writes it; what lies at that very path wins over ID@REVISION.

        Args:
            word: a directory, a GGUF file, a Hub id, or ID@REVISION.
            revision: of a Hub id, where it is given apart.
            tokenizer: a directory or Hub id whose tokenizer is used instead of the checkpoint's own, or None.

        Raises:
            SparsityLabError: two revisions, an empty one, or one of a local model; or no such tokenizer.
        """
        model, own = split(word)
        if revision is not None and not revision.strip():
            raise SparsityLabError(
                f"A revision of {word} is empty", fix="Name a branch, a tag or a commit, or leave it out"
            )
        if own is not None and revision is not None:
            raise SparsityLabError(
                f"{word} names its revision, and {revision.strip()} was given as well",
                fix=f"Write {model} with the revision, or {word} alone",
            )
        chosen = own if revision is None else revision.strip()
        if chosen is not None and cls(model).is_local:
            raise SparsityLabError(
                f"{model} is local and has no revisions", fix=f"Leave the revision {chosen} out"
            )
        return cls(model, chosen, tokenizer=None if tokenizer is None else tokenizer_of(tokenizer))

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.model.endswith(".gguf")

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine, rather than on the Hub."""
        return self.is_gguf or Path(self.model).exists()

    @property
    def folder(self) -> Path | None:
        """The local directory, or None for a Hub id."""
        path = Path(self.model)
        if path.suffix == ".gguf":
            return path.parent
        return path if path.is_dir() else None

    @property
    def snapshot(self) -> Path | None:
        """The folder that holds its files on this machine: the local directory, or a pinned id's in the Hub's cache."""
        if self.folder is not None or self.commit is None:
            return self.folder
        config = hub.cached(self.model, self.commit)
        return None if config is None else config.parent

    def options(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`."""
        options: dict[str, Any] = {"pretrained_model_name_or_path": str(self.folder or self.model)}
        if self.is_gguf:
            options["gguf_file"] = Path(self.model).name
        if self.folder is None:
            from huggingface_hub import constants

            options["cache_dir"] = constants.HF_HUB_CACHE  # where `snapshot` looks
        if self.commit is not None or self.revision is not None:
            options["revision"] = self.commit or self.revision
        if self.here:
            options["local_files_only"] = True
        return options

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


def split(word: str) -> tuple[str, str | None]:
    """A checkpoint's name and the revision in it, ID@REVISION; None where there is none, as in any path that exists.

    Raises:
        SparsityLabError: nothing follows the @.
    """
    found = ON_HUB.fullmatch(word)
    if found is None or word.endswith(".gguf") or Path(word).exists():
        return word, None
    if not found[2].strip():
        raise SparsityLabError(
            f"{word} names no revision after the @", fix=f"Write {found[1]}, or ID@REVISION"
        )
    return found[1], found[2].strip()


def tokenizer_of(word: str) -> Source:
    """A tokenizer as a user names it: a directory with its files, its tokenizer.json, or a Hub id.

    Raises:
        SparsityLabError: nothing is there, or no tokenizer is.
    """
    if not word.strip():
        raise SparsityLabError(
            "The tokenizer's name is empty", fix="Name a folder or Hub id with --tokenizer"
        )
    path = Path(word)
    if path.is_file() and path.name == "tokenizer.json":
        path = path.parent
    source = Source.of(word if not path.is_dir() else str(path))
    if path.is_dir() and not has_tokenizer(path):
        raise SparsityLabError(
            f"There is no tokenizer in {path}",
            why=f"It holds none of {', '.join(TOKENIZER_SIGNS)}",
            fix="Name another folder or Hub id with --tokenizer",
        )
    if source.is_gguf or (source.folder is None and (path.exists() or _is_path(word))):
        raise SparsityLabError(
            f"There is no folder {word} with a tokenizer",
            fix="Name the folder that holds tokenizer.json with --tokenizer, or a Hub id",
        )
    return source


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any((folder / name).is_file() for name in TOKENIZER_SIGNS)


def tokenizer_source(source: Source) -> Source:
    """Where the tokenizer of a checkpoint comes from: what was given, its own files, or its parent folder's.

    Raises:
        SparsityLabError: there is none in any of these places.
    """
    if source.tokenizer is not None:
        return source.tokenizer
    folder = source.folder
    if folder is None or source.is_gguf or has_tokenizer(folder):
        return source
    parent = folder.resolve().parent
    if has_tokenizer(parent):
        return Source(str(parent))
    raise no_tokenizer(f"{folder}, nor in the folder above it")


def no_tokenizer(where: str) -> SparsityLabError:
    """The mistake that a checkpoint has no tokenizer."""
    return SparsityLabError(
        f"There is no tokenizer in {where}",
        why="A Trainer without a processing_class saves none with its checkpoints",
        fix="Name a folder or Hub id that has the model's tokenizer with --tokenizer",
    )


def _is_path(word: str) -> bool:
    """Whether a name can only be a path, not a Hub id."""
    return word.startswith((".", "/", "~")) or word.count("/") > 1


def check_exists(source: Source) -> None:
    """Refuse a path that leads nowhere, before it is taken for a Hub id.

    Raises:
        SparsityLabError: no such file or directory, or no model in it.
    """
    path = Path(source.model)
    if source.is_gguf:
        if not path.is_file():
            raise SparsityLabError(f"There is no file {path}", fix="Check its path")
        extras.require("gguf", who=str(path))
    elif source.folder is not None:
        if not (path / "config.json").is_file():
            refuse_adapter(path)
            raise SparsityLabError(
                f"There is no model in {path}",
                why="It holds no config.json",
                fix=_where_models_are(path),
            )
    elif path.exists() or path.is_symlink():
        what = "a link to nowhere" if path.is_symlink() and not path.exists() else "a file"
        raise SparsityLabError(
            f"{source.model} is {what}, not a model directory",
            fix="Name the folder with the model's config, weights and tokenizer, or a GGUF file",
        )
    elif _is_path(source.model):
        raise SparsityLabError(
            f"There is no model directory {source.model}", fix="Check its path, or give a Hub id as ORG/MODEL"
        )


def _where_models_are(folder: Path) -> str:
    """What to name instead of a folder without a model: what lies deeper in it, where that holds models."""
    for pattern in ("*/*", "*/*/*"):
        if any(folder.glob(f"{pattern}/config.json")):
            return f"Its models lie deeper: name '{folder / pattern}', or one of them"
    return "Name the folder with the model's config, weights and tokenizer, or a folder of such"


def pinned(source: Source) -> Source:
    """The source with the commit that a Hub id's revision means now; a local one is returned as it is.

    A branch moves. It is looked up once for each run, so that config, tokenizer and weights are of one commit, and
    another commit is another model. Without the Hub, the commit is the one in this machine's cache. A tokenizer that
    was given is looked up alike.

    Raises:
        SparsityLabError: no such model or revision, an adapter, or neither the Hub nor the cache knows it.
    """
    check_exists(source)
    if source.tokenizer is not None:
        source = replace(source, tokenizer=_at_commit(source.tokenizer, TOKENIZER_SIGNS, part="tokenizer"))
    return _at_commit(source, ("config.json",), part="config")


def _at_commit(source: Source, signs: Sequence[str], *, part: str) -> Source:
    """A source at the commit it means now, its small files in the cache.

    Args:
        source: of the Hub, or a local one, which stays as it is.
        signs: names of files of which it has one.
        part: what these are of, for what is said.
    """
    if source.folder is not None or source.commit is not None:
        return source
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        files = hub.describe(source.model, source.revision)[1]
        if part == "config" and "adapter_config.json" in files:
            refuse_adapter(source.model, found="adapter_config.json")
        first = next((name for name in signs if name in files), signs[0])
        # By the revision's name: this also notes in the cache what it means, for a run without the Hub.
        commit = hub.bring(source.model, first, source.revision).parent.name
        for name in files:
            if name in TOKENIZER_FILES and name != first:
                hub.bring(source.model, name, commit)
        logger.info("%s is commit %s", source, commit)
        return replace(source, commit=commit)
    except SparsityLabError:
        raise
    except (EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise hub.not_loaded(f"the {part} of {source}", source.model, error) from error
    except Exception as error:  # whatever a network can raise
        found = next(filter(None, (hub.cached(source.model, source.revision, name) for name in signs)), None)
        if found is None:
            raise hub.not_loaded(f"the {part} of {source}", source.model, error) from error
        offline = isinstance(error, OfflineModeIsEnabled)
        said = "the Hub is not asked" if offline else hub.reason(error) or "the Hub gave no answer"
        level = logging.INFO if offline else logging.WARNING
        logger.log(level, "%s: %s; its commit is that of this machine's cache", source, said)
        refuse_adapter(found.parent)
        logger.info("%s is commit %s", source, found.parent.name)
        return replace(source, commit=found.parent.name, here=True)
