"""A callback for transformers' Trainer: activation ratios of the model as it trains, in measure's own records.

    trainer = Trainer(..., callbacks=[MeasureCallback("validation.txt", output="runs/sparsity", every_steps=500)])

Training with it and without it ends in the same weights, bit for bit: the model is measured in evaluation mode
on a text of its own, and flags, gradients and random states are as before. Only the main process measures. Settings
that are wrong are refused when the callback is made, and a model or tokenizer that cannot be measured with before the
first step; what fails later is logged once and left out.

A step whose checkpoint is saved is measured after the save, so that its record has the key that `measure` on that
checkpoint would give it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.loggers import Job, Loggers, check_names, open_loggers
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.trained_tokens import steps_in
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.live.live_model import undisturbed
from sparsity_lab.measure.live.live_record import LiveCell, live_record
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.tokenizers import as_text_tokenizer, bos_of
from sparsity_lab.measure.model.windows import Windows, choose_window
from sparsity_lab.measure.search.settings import setting_of
from sparsity_lab.measure.sources.named import the_text
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.spec import MeasureSpec, as_json
from sparsity_lab.measure.table import write_table
from sparsity_lab.measure.work.record import Named
from sparsity_lab.settings import HEAD
from sparsity_lab.store import records

logger = logging.getLogger(__name__)


class MeasureCallback(TrainerCallback):
    """Measures the live model every so many steps, at saves, or both; other processes wait meanwhile.

    Args:
        text: validation text: a UTF-8 file, JSON lines, a parquet file, or a folder of one kind of these.
        dataset: in its place, a dataset as `--dataset` names it: "wikitext", "allenai/c4:en:validation".
        output: gets `records/`, `table.csv` and `table.md`, as `sparsity-lab measure` writes them.
        every_steps: measure after every so many optimizer steps.
        at_saves: measure whenever the Trainer saves a checkpoint.
        tokenizer: reads the text; by default the Trainer's own `processing_class`.
        tokens_per_step: trained tokens of one step, where the Trainer does not count `num_input_tokens_seen`.
        series: name of the run in the table; by default the last part of the Trainer's `output_dir`.
        criterion, knob, ppl_increase, activation_ratio, tokens, window, bos, batch_size, seed, sample, text_column,
            pack, architecture_file: as in `MeasureSpec`; at most one of knob, ppl_increase (default 0.01) and
            activation_ratio.
        log: loggers to show the points in as well, `["tensorboard"]`; they write below `output`.

    Raises:
        SparsityLabError: settings that nothing could be measured with, a text or an output that cannot be used.
    """

    def __init__(
        self,
        text: Path | str | None = None,
        *,
        output: Path | str,
        dataset: str | None = None,
        every_steps: int | None = None,
        at_saves: bool = False,
        tokenizer: Any = None,
        tokens_per_step: int | None = None,
        series: str | None = None,
        criterion: str = MeasureSpec.criterion,
        knob: float | None = None,
        ppl_increase: float | None = None,
        activation_ratio: float | None = None,
        tokens: int = MeasureSpec.tokens,
        window: int | None = None,
        bos: bool = True,
        batch_size: int | None = None,
        seed: int = 0,
        sample: str | None = None,
        text_column: str | None = None,
        pack: bool = False,
        architecture_file: Path | None = None,
        log: Sequence[str] = (),
    ) -> None:
        if sum(wanted is not None for wanted in (knob, ppl_increase, activation_ratio)) > 1:
            raise SparsityLabError(
                "Of knob, ppl_increase and activation_ratio more than one was given", fix="Give one of them"
            )
        _check_objects(text=text, output=output, tokenizer=tokenizer)
        self.spec = MeasureSpec(
            text=the_text(None if text is None else Path(text), dataset), criterion=criterion, knob=knob,
            ppl_increase=MeasureSpec.ppl_increase if ppl_increase is None else ppl_increase,
            activation_ratio=activation_ratio,
            tokens=tokens, window=window, bos=bos, batch_size=batch_size, seed=seed, sample=sample,
            text_column=text_column, pack=pack,
            architecture_file=architecture_file, tokens_per_step=tokens_per_step,
        )  # fmt: skip
        _check_times(every_steps, at_saves=at_saves)
        check_spec(self.spec)
        check_names(log)
        if architecture_file is not None:
            architectures.load_file(architecture_file)
        self.every_steps, self.at_saves, self.series = every_steps, at_saves, series
        self.tokenizer, self.content = tokenizer, open_text(self.spec.text, column=text_column, pack=pack)
        if tokenizer is not None:
            self._refuse_unreadable(tokenizer)
        self.output = records.prepare_output(Path(output))
        self.folder = records.prepare_output(self.output / "records")
        self.cell: LiveCell | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        self.failures = 0
        self.log, self.loggers = tuple(log), Loggers()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tokenise the text and prove the model's feed-forward sites, so that what would fail is refused now.

        Raises:
            SparsityLabError: no tokenizer, a text that it cannot read, or a model that cannot be measured.
        """
        tokenizer = self.tokenizer or kwargs.get("processing_class")
        if tokenizer is None:
            raise SparsityLabError(
                "MeasureCallback has no tokenizer to read the text with",
                why="It was given none, and the Trainer has no processing_class",
                fix="Write MeasureCallback(..., tokenizer=tokenizer), or Trainer(..., processing_class=tokenizer)",
            )
        if state.is_world_process_zero:
            model = kwargs["model"]
            self._guarded(
                lambda: self._begin(args, state, model, tokenizer), step=0, refused=SparsityLabError
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure after every so many steps; where the step will be saved, once it is."""
        if self._is_due(state) and not control.should_save:
            self._measure(args, state, kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure what was saved, unless this step was measured as saved already."""
        if self.at_saves or self._is_due(state):
            if (row := self.rows.get(int(state.global_step))) and row["weights_sha256"] is None:
                del self.rows[int(state.global_step)]
            self._measure(args, state, kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the loggers end."""
        self.loggers.close()

    def _is_due(self, state: Any) -> bool:
        return self.every_steps is not None and state.global_step % self.every_steps == 0

    def _begin(self, args: Any, state: Any, model: Any, tokenizer: Any) -> None:
        _refuse_sharded(args)
        with undisturbed(model) as itself:
            windows = self._windows(itself.config, tokenizer)
            find_sites(itself, architecture_file=self.spec.architecture_file)
        self.cell = LiveCell(
            windows, setting_of(self.spec), self.spec.criterion, self.spec.seed,
            self.spec.batch_size, self.spec.architecture_file,
        )  # fmt: skip
        self.rows = self._earlier_rows(args, state)
        self.loggers.close(finished=False)  # of a training that broke off
        self.loggers = open_loggers(self.log, job=Job("measure", self.output, as_json(self.spec)))
        self.loggers.start()
        for step in sorted(self.rows):
            self.loggers.record(self.rows[step])

    def _measure(self, args: Any, state: Any, model: Any) -> None:
        step = int(state.global_step)
        if not state.is_world_process_zero or self.cell is None or step in self.rows:
            return
        self._guarded(lambda: self._record(args, state, model), step=step)

    def _record(self, args: Any, state: Any, model: Any) -> None:
        assert self.cell is not None, "training has begun"
        step = int(state.global_step)
        named = Named(
            str(Path(args.output_dir) / f"checkpoint-{step}"), None, self._series(args),
            _tokens_seen(state, tokens_per_step=self.spec.tokens_per_step),
        )  # fmt: skip
        self.rows[step] = live_record(model, self.cell, named=named, folder=self.folder)
        write_table(self.output, [self.rows[done] for done in sorted(self.rows)])
        self.loggers.record(self.rows[step])
        logger.info("step %d: activation ratio %.4f", step, self.rows[step]["activation_ratio"])

    def _guarded(
        self, work: Callable[[], None], *, step: int, refused: type[Exception] | tuple[()] = ()
    ) -> None:
        """Training matters more than measuring: a failure here is logged once and skipped, except for `refused`."""
        try:
            work()
        except refused:
            raise
        except Exception as error:
            self.failures += 1
            logger.log(
                logging.WARNING if self.failures == 1 else logging.DEBUG,
                "Measuring sparsity at step %d failed and is left out, training goes on; later failures are not "
                "told. %s",
                step,
                error.paragraph()
                if isinstance(error, SparsityLabError)
                else f"{type(error).__name__}: {error}",
            )

    def _refuse_unreadable(self, tokenizer: Any) -> None:
        """Refuse a text that the tokenizer cannot write, or that is too short even for the smallest window."""
        sampled(tokenizer, self.content, replace(self.spec.asked(self.spec.window or 2), sample=HEAD))

    def _windows(self, config: Any, tokenizer: Any) -> Windows:
        bos_id = bos_of(as_text_tokenizer(tokenizer))[0] if self.spec.bos else None
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        window = choose_window(self.spec.window, positions=positions, bos=bos_id is not None)
        return sampled(tokenizer, self.content, self.spec.asked(window))

    def _series(self, args: Any) -> str:
        return self.series or Path(args.output_dir).resolve().name

    def _earlier_rows(self, args: Any, state: Any) -> dict[int, dict[str, Any]]:
        """Rows of a run that is resumed, up to the step it is resumed from."""
        assert self.cell is not None, "set just before"
        wanted = {
            **self.cell.setting.said(),
            "criterion": self.cell.criterion,
            "seed": self.cell.seed,
            "text_sha256": self.cell.windows.sha256,
            "series": self._series(args),
        }
        rows = {}
        for path in sorted(self.folder.glob("*.json")) if state.global_step else ():
            found = records.find_record(self.folder, path.stem)
            if found is not None and all(found.get(key) == value for key, value in wanted.items()):
                step = steps_in(Path(found["model"]).name)
                if step is not None and step <= state.global_step:
                    rows[step] = found
        return rows


def _check_objects(*, text: object, output: object, tokenizer: object) -> None:
    for name, value in (("text", text), ("output", output)):
        if not isinstance(value, (str, Path)) and (name != "text" or value is not None):
            raise SparsityLabError(f"{name} is {str(value)[:80]!r}, not a path", fix="Give a path")
    if isinstance(tokenizer, (str, Path)):
        raise SparsityLabError(
            f"tokenizer is {str(tokenizer)!r}, not a tokenizer",
            fix=f"Write AutoTokenizer.from_pretrained({str(tokenizer)!r})",
        )


def _check_times(every_steps: int | None, *, at_saves: bool) -> None:
    if every_steps is None and not at_saves:
        raise SparsityLabError(
            "MeasureCallback has no time at which to measure", fix="Give every_steps=500, or at_saves=True"
        )
    ranges.check("every_steps", every_steps, flag="every_steps", whole=True)


def _refuse_sharded(args: Any) -> None:
    """A forward pass of a model spread over processes needs all of them; only one measures."""
    if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
        raise SparsityLabError(
            "A model sharded by FSDP or DeepSpeed cannot be measured by one process while it trains",
            fix="Measure its checkpoints with `sparsity-lab measure`",
        )


def _tokens_seen(state: Any, *, tokens_per_step: int | None) -> int | None:
    """Trained tokens, as `trained_tokens` would find them in the checkpoint of this step."""
    seen = int(getattr(state, "num_input_tokens_seen", 0) or 0)
    if seen > 0:
        return seen
    return None if tokens_per_step is None else int(state.global_step) * tokens_per_step
