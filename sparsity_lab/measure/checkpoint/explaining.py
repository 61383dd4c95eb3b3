"""What transformers, safetensors, the Hub and its cache raise at loading, as one paragraph of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from traceback import walk_tb

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.measure.checkpoint.source import Source, has_tokenizer, no_tokenizer

MOST_LETTERS = 400  # of another library's reason
ADVICE = {
    "config": "Compare config.json there with the model's own, or copy it again",
    "tokenizer": "Copy the model's own tokenizer files there again, or name others with --tokenizer",
    "weights": "Check that config.json there is these weights' own, and copy the model again",
}
GGUF_FIX = "Convert the model to GGUF again, or measure the checkpoint that it was made of"


@contextlib.contextmanager
def named(source: Source) -> Iterator[None]:
    """Put the checkpoint's name before an error that lacks it."""
    try:
        yield
    except SparsityLabError as error:
        raise SparsityLabError(f"{source}: {error.what}", why=error.why, fix=error.fix) from error


@contextlib.contextmanager
def explained(source: Source, part: str) -> Iterator[None]:
    """Turn what transformers, safetensors and the Hub raise into one sentence of ours."""
    try:
        yield
    except SparsityLabError:
        raise
    except Exception as error:
        loaded = source.snapshot if source.folder is None else None
        if part == "tokenizer" and loaded is not None and not has_tokenizer(loaded):
            raise no_tokenizer(str(source)) from error
        where = source.model if source.is_gguf else source.folder or source
        raise SparsityLabError(
            f"Cannot load the {part} of {where}",
            why=hub.reason(error) or _not_in_cache(source, part) or _reason(error),
            fix=_advice(source, error, part=part),
        ) from error


def _not_in_cache(source: Source, part: str) -> str | None:
    """Which weights the Hub's cache lacks, where nothing but the cache was looked at."""
    if not source.here or part != "weights":
        return None
    return hub.not_in_cache(source.model, source.commit, pickles_allowed=source.allow_pickle_weights)


def _reason(error: Exception) -> str:
    """What a library said, its first line; the second too where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        return f"It knows nothing of {lines[0]}"
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])[:MOST_LETTERS]


def _advice(source: Source, error: Exception, *, part: str) -> str:
    from safetensors import SafetensorError
    from transformers.dynamic_module_utils import resolve_trust_remote_code

    if isinstance(error, SafetensorError):
        again = (
            "copy it again" if source.folder is not None else f"download it again: remove {source.snapshot}"
        )
        return f"The safetensors file is broken or cut short; {again}"
    if source.folder is None:
        again = (
            "Run the same command with the network, which brings what is missing"
            if source.here
            else hub.HUB_FIX
        )
        return hub.advice(error, source.model) or again
    if source.is_gguf:
        missing = any(isinstance(one, ImportError) for one in hub.causes(error))
        return "Install it: pip install gguf" if missing else GGUF_FIX
    if any(frame.f_code is resolve_trust_remote_code.__code__ for frame, _ in walk_tb(error.__traceback__)):
        return "No code of a checkpoint is run here: give a model of a family that transformers knows itself"
    if part == "weights" and not any(source.folder.glob("*.safetensors")):
        return "Weights are read from model.safetensors or its shards: save the model with save_pretrained"
    return ADVICE[part]
