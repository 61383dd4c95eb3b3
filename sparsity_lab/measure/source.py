"""Where a checkpoint comes from, and which commit of the Hub a name means today."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.weight_files import refuse_adapter

logger = logging.getLogger(__name__)
HUB_FIX = "Check the Hub id, the revision and the network, or give a local directory"


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from: a local directory, a GGUF file, or a Hub id with a revision.

    Attributes:
        model: the directory, file or id, as given.
        revision: branch, tag or commit of a Hub id, as given.
        commit: hash of the commit that `revision` means; see `pinned`.
    """

    model: str
    revision: str | None = None
    commit: str | None = None

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.model.endswith(".gguf")

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
        config = _cached(self.model, self.commit)
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
        return options

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


def check_exists(source: Source) -> None:
    """Refuse a path that leads nowhere, before it is taken for a Hub id.

    Raises:
        SparsityLabError: no such file or directory, or no model in it.
    """
    path = Path(source.model)
    if source.is_gguf:
        if not path.is_file():
            raise SparsityLabError(f"There is no file {path}", fix="Check its path")
    elif source.folder is not None:
        if not (path / "config.json").is_file():
            refuse_adapter(path)
            raise SparsityLabError(
                f"There is no model in {path}",
                why="It holds no config.json",
                fix="Name the folder with the model's config, weights and tokenizer, or a folder of such",
            )
    elif path.exists() or source.model.startswith((".", "/", "~")) or source.model.count("/") > 1:
        raise SparsityLabError(
            f"There is no model directory {source.model}", fix="Check its path, or give a Hub id as ORG/MODEL"
        )


def pinned(source: Source) -> Source:
    """The source with the commit that a Hub id's revision means now; a local one is returned as it is.

    A branch moves. It is looked up once for each run, so that config, tokenizer and weights are of one commit, and
    another commit is another model. Without the Hub, the commit is the one in this machine's cache.

    Raises:
        SparsityLabError: no such model or revision, an adapter, or neither the Hub nor the cache knows it.
    """
    check_exists(source)
    if source.folder is not None or source.commit is not None:
        return source
    commit = _commit(source)
    logger.info("%s is commit %s", source, commit)
    return replace(source, commit=commit)


def _commit(source: Source) -> str:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        files = HfApi().model_info(source.model, revision=source.revision).siblings
        if any(file.rfilename == "adapter_config.json" for file in files or ()):
            refuse_adapter(source.model, found="adapter_config.json")
        # This also notes in the cache what the revision means, for a run without the Hub.
        return Path(hf_hub_download(source.model, "config.json", revision=source.revision)).parent.name
    except SparsityLabError:
        raise
    except (EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _unknown(source, error) from error
    except Exception as error:  # whatever a network can raise
        config = _cached(source.model, source.revision)
        if config is None:
            raise _unknown(source, error) from error
        level = logging.INFO if isinstance(error, OfflineModeIsEnabled) else logging.WARNING
        logger.log(level, "%s: the Hub was not asked, its commit is that of this machine's cache", source)
        refuse_adapter(config.parent)
        return config.parent.name


def _cached(model: str, revision: str | None) -> Path | None:
    """config.json of a revision in the Hub's cache on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(path) if isinstance(path, str) else None


def _unknown(source: Source, error: Exception) -> SparsityLabError:
    lines = str(error).strip().splitlines()
    return SparsityLabError(
        f"Cannot load the config of {source}", why=lines[0] if lines else type(error).__name__, fix=HUB_FIX
    )
