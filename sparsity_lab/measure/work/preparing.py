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
from sparsity_lab.measure.model.tokenizers import refuse_ids_beyond
from sparsity_lab.measure.model.windows import (
    TokenizedText,
    Windows,
    choose_window,
    read_text,
    refuse_same_tokens,
    tokenize,
)
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.failures import Lost, attempted
from sparsity_lab.settings import ModelSettings

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
        checkpoint = checkpoint.pinned()
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
        self.text = read_text(spec.text, tokens=spec.tokens)
        super().__init__(spec, elsewhere=elsewhere)
        self.spec, self.token_counts = spec, TokenCounts(table, spec.tokens_per_step)
        self.encoded: dict[str, TokenizedText] = {}
        self.left_out: set[tuple[int, int, int]] = set()

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
        """Read a checkpoint's config and tokenise the text for it.

        Raises:
            SparsityLabError: a checkpoint, text or window that cannot be measured.
        """
        checkpoint = checkpoint.pinned()
        spec, source = self.spec, checkpoint.source
        config = load_config(source, architecture_file=spec.architecture_file)
        text = self._encode(source)
        positions = getattr(config, "max_position_embeddings", None)
        window = choose_window(spec.window, positions=positions, bos=text.bos_id is not None)
        windows = text.windows(window, source=self.spec.text)
        self._say_left_out(windows, text.ids.numel())
        refuse_ids_beyond(getattr(config, "vocab_size", None), largest=windows.largest_id, source=source)
        return Prepared(**self._facts(checkpoint, config), windows=windows)

    def _say_left_out(self, windows: Windows, tokens: int) -> None:
        """Say once how many of the tokens asked for are measured, where they are not whole windows."""
        counts = windows.tokens, tokens, windows.window
        if windows.tokens < tokens and counts not in self.left_out:
            self.left_out.add(counts)
            logger.info("tokens %d of %d: whole windows of %d", *counts)

    def _encode(self, source: Source) -> TokenizedText:
        """Token ids and BOS; checkpoints of one run share a tokenizer, which then reads the text once."""
        identity = tokenizer_identity(source)
        if identity not in self.encoded:
            reader = load_text_tokenizer(source)
            text = tokenize(reader, self.text, tokens=self.spec.tokens, bos=self.spec.bos)
            if text.ids.numel() < self.spec.tokens:
                logger.info(
                    "tokens %d: the text has no more for the %d wanted", text.ids.numel(), self.spec.tokens
                )
            self.encoded[identity] = text
        return self.encoded[identity]


def prepared_on(
    preparers: Mapping[str, Preparer], checkpoint: Checkpoint, *, fail_fast: bool
) -> OnTexts | Lost:
    """A checkpoint on every text, or why it cannot be; the latter never under `fail_fast`.

    Raises:
        SparsityLabError: two texts of the same tokens.
    """

    def on_each(checkpoint: Checkpoint) -> OnTexts:
        at_commit = checkpoint.pinned()
        return {name: preparer.prepare(at_commit) for name, preparer in preparers.items()}

    on_texts = attempted(on_each, checkpoint, fail_fast=fail_fast)
    if not isinstance(on_texts, Lost):
        refuse_same_tokens({name: prepared.windows for name, prepared in on_texts.items()})
    return on_texts
