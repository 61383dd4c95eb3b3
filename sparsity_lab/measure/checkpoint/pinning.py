"""Which commit of the Hub a name means today, and which model an adapter is for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.measure.checkpoint.source import TOKENIZER_FILES, TOKENIZER_SIGNS, Source, check_exists
from sparsity_lab.measure.checkpoint.weights.adapters import adapter_in
from sparsity_lab.measure.checkpoint.weights.weight_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    OTHERS,
    is_adapter,
    pickles_not_allowed,
    refuse_adapter,
)

logger = logging.getLogger(__name__)


def pinned(source: Source) -> Source:
    """The source with the commit that a Hub id's revision means now; a local one is returned as it is.

    A branch moves. It is looked up once for each run, so that config, tokenizer and weights are of one commit, and
    another commit is another model. Without the Hub, the commit is the one in this machine's cache. A tokenizer that
    was given, and the base model of an adapter, are looked up alike.

    Raises:
        SparsityLabError: no such model or revision, an adapter beside a model's weights or whose base model is not
            to be had, or neither the Hub nor the cache knows it.
    """
    check_exists(source)
    if source.tokenizer is not None:
        source = replace(source, tokenizer=_at_commit(source.tokenizer, TOKENIZER_SIGNS, part="tokenizer"))
    return with_base(_at_commit(source, ("config.json",), part="config"))


def with_base(source: Source) -> Source:
    """An adapter with the base model that its config names, at the commit that this means now; others as they are.

    Raises:
        SparsityLabError: an adapter that cannot be merged, or whose base model is not to be had.
    """
    folder = source.snapshot
    if source.base is not None or folder is None or not source.is_adapter:
        return source
    adapter = adapter_in(folder)
    try:
        base = pinned(Source.of(adapter.base, adapter.revision).read_as(source.weight_settings))
    except SparsityLabError as error:
        another = f"if another model is meant, name it in {ADAPTER_CONFIG}, as base_model_name_or_path"
        raise SparsityLabError(
            f"The base model of the adapter {source} is not to be had: {error.what}",
            why=error.why or f"Its {ADAPTER_CONFIG} names {adapter.base} as base_model_name_or_path",
            fix=f"{error.fix or hub.HUB_FIX}; {another}",
        ) from error
    if base.is_gguf or base.is_adapter:
        what = "a GGUF file" if base.is_gguf else "an adapter as well"
        raise SparsityLabError(
            f"The base model of the adapter {source} is {what}: {base}",
            fix=f"Name the model that it was trained on in {ADAPTER_CONFIG}, as base_model_name_or_path",
        )
    logger.info("%s is an adapter of the kind %s; its base model is %s", source, adapter.kind, base)
    return replace(source, base=base)


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
        if part == "config" and ADAPTER_CONFIG in files:
            _refuse_beside_weights(source, files)
            signs = (ADAPTER_CONFIG,)
        first = next((name for name in signs if name in files), signs[0])
        # By the revision's name: this also notes in the cache what it means, for a run without the Hub.
        commit = hub.bring(source.model, first, source.revision).parent.name
        beside = _adapter_weights(source, files) if first == ADAPTER_CONFIG else ()
        for name in files:
            if name != first and name in (*TOKENIZER_FILES, *beside):
                hub.bring(source.model, name, commit)
        logger.info("%s is commit %s", source, commit)
        return replace(source, commit=commit)
    except SparsityLabError:
        raise
    except (EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise hub.not_loaded(f"the {part} of {source}", source.model, error) from error
    except Exception as error:  # whatever a network can raise
        names = (*signs, *((ADAPTER_CONFIG,) if part == "config" else ()))
        found = next(filter(None, (hub.cached(source.model, source.revision, name) for name in names)), None)
        if found is None:
            raise hub.not_loaded(f"the {part} of {source}", source.model, error) from error
        offline = isinstance(error, OfflineModeIsEnabled)
        said = "the Hub is not asked" if offline else hub.reason(error) or "the Hub gave no answer"
        level = logging.INFO if offline else logging.WARNING
        logger.log(level, "%s: %s; its commit is that of this machine's cache", source, said)
        if not is_adapter(found.parent):
            refuse_adapter(found.parent)
        logger.info("%s is commit %s", source, found.parent.name)
        return replace(source, commit=found.parent.name, here=True)


def _adapter_weights(source: Source, files: Sequence[str]) -> Sequence[str]:
    """The file of an adapter's weights on the Hub: safetensors come first, and a pickle only where it is allowed."""
    there = [name for name in ADAPTER_WEIGHTS if name in files][:1]
    if there and there[0].endswith(".bin") and not source.allow_pickle_weights:
        raise pickles_not_allowed(source, there)
    return there


def _refuse_beside_weights(source: Source, files: Sequence[str]) -> None:
    """Refuse a place that holds an adapter and a model's weights as well: which is meant is not certain."""
    weights = [
        name for name in files if name not in ADAPTER_WEIGHTS and any(fnmatch(name, o) for o in OTHERS)
    ]
    if weights:
        refuse_adapter(source.model, found=ADAPTER_CONFIG)
