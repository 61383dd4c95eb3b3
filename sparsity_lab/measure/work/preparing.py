"""Prepares checkpoints to be worked on, most often on a text: config, tokens, device, dtype, hash, but no weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.devices import choose_device, choose_dtype
from sparsity_lab.measure.checkpoint.fingerprints import fingerprint, tokenizer_identity
from sparsity_lab.measure.checkpoint.loading import load_config, load_text_tokenizer
from sparsity_lab.measure.checkpoint.prepared import Prepared, Ready
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.checkpoint.trained_tokens import (
    TokenCounts,
    read_table,
    refuse_strangers,
    tell_origins,
    tell_small,
    tell_unknown,
)
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.tokenizers import TextTokenizer, bos_of, refuse_ids_beyond
from sparsity_lab.measure.model.windows import Windows, choose_window, refuse_same_tokens
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.failures import Lost, attempted
from sparsity_lab.settings import WHOLE, ModelSettings

logger = logging.getLogger(__name__)


OnTexts = dict[str, Prepared]  # a checkpoint on each text, by the text's name


class ModelPreparer:
    """Prepares checkpoints for work that brings its own texts.

    Args:
        reading: how they are read.
        elsewhere: the device of `auto` where the work is done on other machines.
    """

    def __init__(self, reading: ModelSettings, *, elsewhere: str | None = None) -> None:
        self.reading, self.elsewhere, self.token_counts = reading, elsewhere, TokenCounts()
        self._device()  # what is wrong for every checkpoint is reported before any is read
        if reading.architecture_file is not None:
            architectures.load_file(reading.architecture_file)

    def prepare(self, checkpoint: Checkpoint) -> Ready:
        """Read a checkpoint's config.

        Raises:
            SparsityLabError: a checkpoint that cannot be used.
        """
        checkpoint = checkpoint.pinned(self.reading)
        config = load_config(checkpoint.source, architecture_file=self.reading.architecture_file)
        return Ready(**self._facts(checkpoint, config))

    def _facts(self, checkpoint: Checkpoint, config: Any) -> dict[str, Any]:
        """The fields of `Ready`."""
        device, source = self._device(), checkpoint.source
        dtype, reason = choose_dtype(self.reading.dtype, config=config, device=device)
        trained, origin = self.token_counts.of(source)
        return {
            "checkpoint": checkpoint, "reading": replace(self.reading, device=device), "config": config,
            "device": device, "dtype": dtype, "dtype_reason": reason, "identity": fingerprint(source),
            "trained_tokens": trained, "tokens_origin": origin,
        }  # fmt: skip

    def _device(self) -> str:
        if self.elsewhere is None:
            return choose_device(self.reading.device)
        return self.elsewhere if self.reading.device == "auto" else self.reading.device


class Preparer(ModelPreparer):
    """Prepares checkpoints for one text, which it reads once for each tokenizer.

    Args:
        spec: how text and checkpoints are read; its criterion and knob do not matter.
        elsewhere: as in `ModelPreparer`.
    """

    def __init__(self, spec: MeasureSpec, *, elsewhere: str | None = None) -> None:
        table = {} if spec.trained_tokens is None else read_table(spec.trained_tokens)
        self.text = open_text(spec.text, column=spec.text_column, pack=spec.pack)
        super().__init__(spec, elsewhere=elsewhere)
        self.spec, self.token_counts = spec, TokenCounts(table, spec.tokens_per_step)
        self.readers: dict[str, TextTokenizer] = {}
        self.windows: dict[tuple[str, int], Windows] = {}

    def prepare_all(self, checkpoints: Sequence[Checkpoint | Lost]) -> list[Prepared | Lost]:
        """Prepare every checkpoint of a run, and say where their trained tokens come from.

        Returns:
            Each one prepared, or why it cannot be; never the latter under `fail_fast`.

        Raises:
            SparsityLabError: as `prepare`, where it is to end the run; or a table of trained tokens that is about
                none of them.
        """
        if self.spec.trained_tokens is not None:
            sources = [(c.checkpoint if isinstance(c, Lost) else c).source for c in checkpoints]
            refuse_strangers(self.token_counts, sources, path=self.spec.trained_tokens)
        prepared = [self.prepared(checkpoint) for checkpoint in checkpoints]
        ready = [checkpoint for checkpoint in prepared if isinstance(checkpoint, Prepared)]
        tell_unknown((checkpoint.checkpoint.series, checkpoint.tokens_origin) for checkpoint in ready)
        tell_small(checkpoint.trained_tokens for checkpoint in ready)
        tell_origins(
            (checkpoint.tokens_origin for checkpoint in ready), tokens_per_step=self.spec.tokens_per_step
        )
        return prepared

    def prepared(self, checkpoint: Checkpoint | Lost) -> Prepared | Lost:
        """A checkpoint prepared, or why it cannot be; the latter never under `fail_fast`."""
        return attempted(self.prepare, checkpoint, fail_fast=self.spec.fail_fast)

    def prepare(self, checkpoint: Checkpoint) -> Prepared:
        """Read a checkpoint's config and tokenize the text for it.

        Raises:
            SparsityLabError: a checkpoint, text or window that cannot be measured.
        """
        checkpoint = checkpoint.pinned(self.spec)
        spec, source = self.spec, checkpoint.source
        config = load_config(source, architecture_file=spec.architecture_file)
        windows = self._windows(source, positions=getattr(config, "max_position_embeddings", None))
        refuse_ids_beyond(getattr(config, "vocab_size", None), largest=windows.largest_id, source=source)
        return Prepared(**self._facts(checkpoint, config), windows=windows)

    def _windows(self, source: Source, *, positions: int | None) -> Windows:
        """The windows of a checkpoint; those of one run share a tokenizer, which then reads the text once."""
        identity = tokenizer_identity(source)
        if identity not in self.readers:
            self.readers[identity] = load_text_tokenizer(source)
        reader = self.readers[identity]
        bos_id = bos_of(reader)[0] if self.spec.bos else None
        window = choose_window(self.spec.window, positions=positions, bos=bos_id is not None)
        if (identity, window) not in self.windows:
            found = sampled(reader, self.text, self.spec.asked(window))
            self._say_left_out(found)
            self.windows[identity, window] = found
        return self.windows[identity, window]

    def _say_left_out(self, windows: Windows) -> None:
        """Say how many of the tokens asked for are measured, where it is not all of them."""
        wanted = self.spec.tokens
        if windows.sample == WHOLE and windows.tokens + windows.window <= wanted:
            logger.info("tokens %d: the text has no more for the %d wanted", windows.tokens, wanted)
        elif windows.tokens < wanted:
            logger.info("tokens %d of %d: whole windows of %d", windows.tokens, wanted, windows.window)


def prepared_on(
    preparers: Mapping[str, Preparer], checkpoint: Checkpoint, *, fail_fast: bool
) -> OnTexts | Lost:
    """A checkpoint on every text, or why it cannot be; the latter never under `fail_fast`.

    Raises:
        SparsityLabError: two texts of the same tokens.
    """

    def on_each(checkpoint: Checkpoint) -> OnTexts:
        first = next(iter(preparers.values()))
        at_commit = checkpoint.pinned(first.spec)
        return {name: preparer.prepare(at_commit) for name, preparer in preparers.items()}

    on_texts = attempted(on_each, checkpoint, fail_fast=fail_fast)
    if not isinstance(on_texts, Lost):
        refuse_same_tokens({name: prepared.windows for name, prepared in on_texts.items()})
    return on_texts
