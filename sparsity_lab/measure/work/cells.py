"""One cell: one checkpoint in one setting, read from its record or measured and recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.devices import choose_device, choose_dtype
from sparsity_lab.measure.checkpoint.fingerprints import fingerprint, tokenizer_identity
from sparsity_lab.measure.checkpoint.loading import load_config, load_text_tokenizer
from sparsity_lab.measure.checkpoint.prepared import Prepared, name_of, named_of
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.checkpoint.trained_tokens import (
    TokenCounts,
    read_table,
    refuse_strangers,
    tell_origins,
    tell_small,
    tell_unknown,
)
from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.model.loaded import Loaded, Shelf
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.tokenizers import refuse_ids_beyond
from sparsity_lab.measure.model.windows import TokenizedText, Windows, choose_window, read_text, tokenize
from sparsity_lab.measure.search.engine import measure_subject
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.part import WindowSpan
from sparsity_lab.measure.search.settings import Setting, cell_key
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.thresholds.stored import refuse_other_models, write_weights
from sparsity_lab.measure.work.claims import ClaimWatch, Sign, claimed
from sparsity_lab.measure.work.failures import Lost, failed_row, failure
from sparsity_lab.measure.work.record import record_body, shape_of
from sparsity_lab.measure.work.shards import has_part, measure_part, read_parts, spans, write_part
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records

logger = logging.getLogger(__name__)
POLL_S = 0.5  # between looks at a cell that somebody else measures


class Bench:
    """Prepares checkpoints, loads each model once at a time, and answers cells from records where it can."""

    def __init__(
        self,
        spec: MeasureSpec,
        *,
        folder: Path,
        progress: Progress = SILENT,
        shelf: Shelf | None = None,
        elsewhere: str | None = None,
    ) -> None:
        self.spec, self.folder, self.progress = spec, folder, progress
        self.elsewhere = elsewhere  # the device of `auto` where the work is done on other machines
        self.shelf = shelf or Shelf(spec.architecture_file)
        table = {} if spec.trained_tokens is None else read_table(spec.trained_tokens)
        self.token_counts = TokenCounts(table, spec.tokens_per_step)
        self.text = read_text(spec.text, tokens=spec.tokens)
        self._device()  # what no checkpoint can mend is told before any is looked at
        if spec.architecture_file is not None:
            architectures.load_file(spec.architecture_file)
        self.encoded: dict[str, TokenizedText] = {}
        self.measured: set[str] = set()
        self.failed: dict[str, SparsityLabError] = {}  # by content key
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
            sources = [(one.checkpoint if isinstance(one, Lost) else one).source for one in checkpoints]
            refuse_strangers(self.token_counts, sources, path=self.spec.trained_tokens)
        found = [self.prepared(one) for one in checkpoints]
        ready = [one for one in found if isinstance(one, Prepared)]
        tell_unknown((one.checkpoint.series, one.tokens_origin) for one in ready)
        tell_small(one.trained_tokens for one in ready)
        tell_origins((one.tokens_origin for one in ready), tokens_per_step=self.spec.tokens_per_step)
        return found

    def prepared(self, checkpoint: Checkpoint | Lost) -> Prepared | Lost:
        """A checkpoint prepared, or why it cannot be; the latter never under `fail_fast`."""
        if isinstance(checkpoint, Lost):
            return checkpoint
        try:
            return self.prepare(checkpoint)
        except Exception as error:
            return Lost(checkpoint, failure(error, checkpoint, fail_fast=self.spec.fail_fast))

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
        device = self._device()
        dtype, reason = choose_dtype(spec.dtype, config=config, device=device)
        windows = text.windows(window, source=self.spec.text)
        self._say_left_out(windows, text.ids.numel())
        refuse_ids_beyond(getattr(config, "vocab_size", None), largest=windows.largest_id, source=source)
        trained, origin = self.token_counts.of(source)
        return Prepared(
            checkpoint, config, windows, device, dtype, reason, fingerprint(source), trained,
            origin,
        )  # fmt: skip

    def _say_left_out(self, windows: Windows, tokens: int) -> None:
        """Say once how many of the tokens asked for are measured, where they are not whole windows."""
        counts = windows.tokens, tokens, windows.window
        if windows.tokens < tokens and counts not in self.left_out:
            self.left_out.add(counts)
            logger.info("tokens %d of %d: whole windows of %d", *counts)

    def _device(self) -> str:
        if self.elsewhere is None:
            return choose_device(self.spec.device)
        return self.elsewhere if self.spec.device == "auto" else self.spec.device

    def key(self, prepared: Prepared, setting: Setting) -> str:
        """Content key of a cell."""
        spec = self.spec
        return cell_key(
            setting,
            windows=prepared.windows,
            weights=prepared.identity,
            dtype=prepared.dtype,
            device=prepared.device,
            criterion=spec.criterion,
            seed=spec.seed,
            architecture_file=spec.architecture_file,
            compat=spec.compat,
        )

    def done(self, prepared: Prepared, setting: Setting) -> dict[str, Any] | None:
        """The record of a cell, where there is one; under `again`, one of this run."""
        key = self.key(prepared, setting)
        if self.spec.again and key not in self.measured:
            return None
        return records.find_record(self.folder, key)

    def record(self, prepared: Prepared, setting: Setting) -> dict[str, Any]:
        """The record of a cell: read where it exists, measured and written where not, awaited where others do.

        Raises:
            SparsityLabError: it cannot be measured.
        """
        found = self.done(prepared, setting)
        if found is not None and found["content_key"] not in self.measured:
            logger.info("%s, %s: measured before", prepared.checkpoint.source, setting.rule)
        watch, key = ClaimWatch(), self.key(prepared, setting)
        while found is None:
            expired = watch.expired(self.folder, key)
            found = None if expired is None else self.attempt(prepared, setting, expired=expired)
            if found is None:
                time.sleep(POLL_S)
                found = self.done(prepared, setting)
        told = records.retold(self.folder, found, trained_tokens=prepared.trained_tokens)
        return {
            **told,
            **named_of(prepared).words(),
        }  # an equal checkpoint may have left it, under another name

    def row(self, prepared: Prepared | Lost, setting: Setting) -> dict[str, Any]:
        """The record of a cell as `record` gives it, or where the cell failed the row that says why."""
        if isinstance(prepared, Lost):
            return failed_row(name_of(prepared.checkpoint), prepared.error, setting=setting, spec=self.spec)
        error = self.failed.get(self.key(prepared, setting))
        if error is None or self.done(prepared, setting) is not None:  # others may have measured it
            return self.record(prepared, setting)
        return failed_row(named_of(prepared), error, setting=setting, spec=self.spec)

    def attempt(
        self, prepared: Prepared, setting: Setting, *, expired: frozenset[Sign] = frozenset()
    ) -> dict[str, Any] | None:
        """The record of a cell: read, or measured and written; None while somebody else measures it.

        Args:
            prepared, setting: the cell.
            expired: claims on it that have run out.
        """
        key = self.key(prepared, setting)
        with claimed(self.folder, key, expired=expired) as ours:
            if not ours:
                return None
            found = self.done(prepared, setting)  # its last holder may have written it before letting go
            return self._measured(prepared, setting) if found is None else found

    def spans(self, prepared: Prepared) -> list[WindowSpan]:
        """The parts a cell's text is measured in; none where it is measured as a whole."""
        if self.spec.text_shards == 1:
            return []
        batch = self._batch(prepared)
        return spans(prepared.windows.count, shards=self.spec.text_shards, batch=batch)

    def attempt_part(
        self, prepared: Prepared, setting: Setting, span: WindowSpan, *, expired: frozenset[Sign]
    ) -> None:
        """Measure and write one part of a cell, unless it is there or somebody else is at it."""
        name = span.name(self.key(prepared, setting))
        with claimed(self.folder, name, expired=expired) as ours:
            if ours and not has_part(self.folder, name):
                _, subject = self._subject(prepared, setting)
                part = halving(
                    subject,
                    lambda: measure_part(
                        subject, setting, span, criterion=self.spec.criterion, seed=self.spec.seed
                    ),
                )
                write_part(self.folder, name, part, span=span)

    def _measured(self, prepared: Prepared, setting: Setting) -> dict[str, Any]:
        loaded, measured = self._measure(prepared, setting)
        key = self.key(prepared, setting)
        weights = measured.score_weights
        self.measured.add(key)
        return records.write_and_read(
            self.folder,
            {
                **self._body(prepared, setting, measured, loaded=loaded, key=key),
                "score_weights_sha256": weights and write_weights(self.folder, key, weights),
            },
        )

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

    def _measure(self, prepared: Prepared, setting: Setting) -> tuple[Loaded, Measurement]:
        """What was loaded and the numbers, of the cell's parts where they are there."""
        spec, split = self.spec, self.spans(prepared)
        loaded, subject = self._subject(prepared, setting)
        part = read_parts(self.folder, self.key(prepared, setting), split) if split else None
        return loaded, measure_subject(
            subject, setting, criterion=spec.criterion, seed=spec.seed, compat=spec.compat, part=part
        )

    def _batch(self, prepared: Prepared) -> int:
        return self.spec.batch_size or auto_batch_size(prepared.device, window=prepared.windows.window)

    def _subject(self, prepared: Prepared, setting: Setting) -> tuple[Loaded, Subject]:
        """What was loaded, and the model with its text."""
        windows = prepared.windows
        loaded = self.shelf.get(
            prepared.checkpoint.source, dtype=prepared.dtype, device=prepared.device, ids=windows.ids
        )
        if prepared.checkpoint.source.folder is not None and loaded.content != prepared.identity:
            raise SparsityLabError(
                f"The files of {prepared.checkpoint.source} changed while they were being measured",
                fix="Leave checkpoints alone while they are measured, and run the command again",
            )
        if setting.calibration is not None:
            refuse_other_models(setting.calibration, loaded.sites, shape=self._shape(loaded))
        allowed = self.spec.allow_untrained or prepared.checkpoint.in_series
        batch = self._batch(prepared)
        return loaded, Subject(loaded.model, loaded.sites, windows, batch, self.progress, allowed)

    def _shape(self, loaded: Loaded) -> dict[str, Any]:
        return shape_of(
            loaded.model,
            loaded.sites,
            architecture=loaded.architecture,
            architecture_file=self.spec.architecture_file,
        )

    def _body(
        self, prepared: Prepared, setting: Setting, measured: Measurement, *, loaded: Loaded, key: str
    ) -> dict[str, Any]:
        return record_body(
            measured,
            named=named_of(prepared),
            setting={**setting.said(), "compat": self.spec.compat},
            windows=prepared.windows,
            shape=self._shape(loaded),
            files=loaded.files(),
            seed=self.spec.seed,
            content_key=key,
            provenance=provenance(
                device=prepared.device,
                dtype=str(prepared.dtype).removeprefix("torch."),
                dtype_reason=prepared.dtype_reason,
                tokenizer=list(prepared.windows.notes),
            ),
        )
