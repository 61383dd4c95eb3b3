"""Do errors of activation ratios hold? Measured again and again on other samples of the same corpus.

A cell is a model, a text, a setting, a number of tokens and a way of sampling. Spread samples differ by their seed;
heads are stretches of the text, one behind the other. The truth is one spread sample of `LONG` tokens. Settings are a
fixed c, fixed thresholds (those of that c on another long sample), and PPL-p % for three p.

Run it with `python -m sparsity_lab.bench.measure.sample_errors FOLDER --models MODEL ... --texts TEXT ...`. Cells that
the folder has from other runs stay in its table.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine import signals
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.measure.checkpoint.loading import load_model, load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.windows import Windows, cut, tokenize
from sparsity_lab.measure.search import engine
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.settings import Setting, given
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.settings import HEAD, SPREAD, Sampling
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import SAMPLE_ERRORS

logger = logging.getLogger(__name__)

WINDOW, LONG, LONG_SEED = 512, 131_072, 9_999
C = 0.1
THRESHOLDS = "thresholds"
SETTINGS = {
    f"c = {C:g}": Setting("fixed", knob=C),
    THRESHOLDS: Setting("thresholds"),
    "PPL-0.1%": Setting("ppl-increase", ppl_increase=0.001),
    "PPL-1%": Setting("ppl-increase", ppl_increase=0.01),
    "PPL-5%": Setting("ppl-increase", ppl_increase=0.05),
}
Row = dict[str, object]


@dataclass(frozen=True)
class Bench:
    """A model and a text to sample.

    Attributes:
        model: a causal LM with its sites and its tokenizer's windows.
        sites: of it.
        tokenizer: reads the text.
        text: path of it.
    """

    model: Any
    sites: Any
    tokenizer: Any
    text: Path

    @classmethod
    def of(cls, model: Path, text: Path) -> Bench:
        """Load the model in float32."""
        source = Source(str(model))
        loaded = load_model(source, dtype=torch.float32, device="cpu")
        sites = find_sites(loaded).sites
        return cls(loaded, sites, load_text_tokenizer(source), text)

    def samples(self, sample: str, tokens: int, count: int) -> Iterator[Windows]:
        """Spread samples by seed, or as many stretches of the text as there are."""
        text = open_text(self.text)
        if sample == SPREAD:
            for seed in range(count):
                yield sampled(self.tokenizer, text, Sampling(tokens, WINDOW, seed=seed))
            return
        read = tokenize(self.tokenizer, next(text.each()).whole(), tokens=None, say=False)
        for start in range(0, min(count * tokens, read.ids.numel() - tokens), tokens):
            yield cut(read.ids[start : start + tokens], window=WINDOW, bos_id=read.bos_id)

    def long(self, seed: int = LONG_SEED) -> Windows:
        """The sample that is taken for the truth, or another as long."""
        return sampled(self.tokenizer, open_text(self.text), Sampling(LONG, WINDOW, seed=seed))

    def setting(self, name: str) -> Setting:
        """A setting by its name; thresholds are found here."""
        if name != THRESHOLDS:
            return SETTINGS[name]
        found = self.measured(self.long(LONG_SEED - 1), Setting("fixed", knob=C))
        assert found.thresholds is not None
        return given(Calibration("cett", tuple(found.thresholds), knob=C))

    def measured(self, windows: Windows, setting: Setting) -> Measurement:
        """One measurement."""
        subject = Subject(self.model, self.sites, windows, auto_batch_size("cpu", window=WINDOW))
        return engine.measure_subject(subject, setting, criterion="cett", seed=0)


@dataclass(frozen=True)
class SampleCells:
    """What is measured again and again: the cells of one model, text and setting, which share their truth.

    Attributes:
        model, text: paths.
        setting: a key of `SETTINGS`.
        sizes: of each, the tokens of a sample, and how many samples at most.
        ways: how samples are taken.
    """

    model: Path
    text: Path
    setting: str
    sizes: tuple[tuple[int, int], ...]
    ways: tuple[str, ...]

    def rows(self) -> list[Row]:
        """One row a number."""
        torch.set_num_threads(1)
        logging.getLogger("sparsity_lab").setLevel(logging.ERROR)
        bench = Bench.of(self.model, self.text)
        try:
            return list(self._measured(bench))
        except SparsityLabError as error:
            sys.stderr.write(f"{self.model.name} on {self.text.stem} is left out: {error}\n")
            return []

    def _measured(self, bench: Bench) -> Iterator[Row]:
        """The rows.

        Raises:
            SparsityLabError: the model cannot be measured on a sample of the text, such as one it does not model.
        """
        setting = bench.setting(self.setting)
        truth = _numbers(bench.measured(bench.long(), setting))
        for (tokens, count), sample in itertools.product(self.sizes, self.ways):
            samples = bench.samples(sample, tokens, count)
            found = [_numbers(bench.measured(windows, setting)) for windows in samples]
            cell: Row = {
                "model": self.model.name, "text": self.text.stem, "setting": self.setting, "tokens": tokens,
                "sample": sample, "samples": len(found),
            }  # fmt: skip
            yield from _rows(cell, found, truth)


Numbers = dict[str, tuple[float, float, float]]  # by its name: a number, its error, half its interval


def _numbers(measured: Measurement) -> Numbers:
    errors = measured.errors
    found = {
        "activation ratio": (measured.activation_ratio, errors.activation_ratio),
        "loss rise": (measured.loss_delta_nats, errors.loss_delta_nats),
    }
    if errors.knob is not None:
        low, high = map(math.log, errors.knob)
        found["ln c"] = (math.log(measured.knob), (high - low) / 2 / errors.t)
    return {name: (value, error, errors.t * error) for name, (value, error) in found.items()}


def _rows(cell: Row, found: Sequence[Numbers], truth: Numbers) -> Iterator[Row]:
    """How far apart samples are, compared with the errors of each, and how often intervals hold mean and truth."""
    if len(found) < 2:
        return
    for name, (true_value, true_error, _) in truth.items():
        values, errors, halves = np.array([one[name] for one in found]).T
        scatter = float(values.std(ddof=1))
        bias, bias_error = (
            float(values.mean() - true_value),
            math.hypot(scatter / len(found) ** 0.5, true_error),
        )
        yield {
            **cell, "number": name, "mean": float(values.mean()), "truth": true_value,
            "bias": bias, "bias_se": bias_error,
            "scatter": scatter, "stated": float(errors.mean()), "scatter_over_se": scatter / float(errors.mean()),
            "holds_mean": float((np.abs(values - values.mean()) <= halves).mean()),
            "holds_truth": float((np.abs(values - true_value) <= halves).mean()),
            "bias_over_scatter": bias / scatter if scatter else 0.0,
        }  # fmt: skip


def _read(table: Path) -> list[Row]:
    """The rows of a table that an earlier run wrote."""
    words = ("model", "text", "setting", "sample", "number")
    return [
        {key: cell if key in words or not cell else float(cell) for key, cell in row.items()}
        for _, row in read_csv(table, as_written=True)[1]
    ]


def cell_of(row: Row) -> tuple[str, ...]:
    """Which number of which cell a row of the table is about, in the table's order."""
    tokens = f"{float(str(row['tokens'])):9g}"
    return (
        str(row["setting"]),
        str(row["model"]),
        str(row["text"]),
        str(row["sample"]),
        tokens,
        str(row["number"]),
    )


def main(words: list[str]) -> None:
    """Run the study into a folder."""
    parser = ArgumentParser(prog="python -m sparsity_lab.bench.measure.sample_errors", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets sample-errors.csv and .md")
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 8192, 32_768])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--sample", nargs="+", choices=(SPREAD, HEAD), default=[SPREAD, HEAD])
    parser.add_argument("--samples", type=int, nargs="+", default=[40], help="one number, or one a size")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = records.prepare_output(asked.folder)
    counts = asked.samples if len(asked.samples) > 1 else asked.samples * len(asked.tokens)
    sizes = tuple(zip(asked.tokens, counts, strict=True))
    cells = [
        SampleCells(model, text, setting, sizes, tuple(asked.sample))
        for setting in asked.settings for text in asked.texts for model in asked.models
    ]  # fmt: skip
    table = folder / "sample-errors.csv"
    rows = {cell_of(row): row for row in (_read(table) if table.exists() else ())}
    with side_by_side(asked.jobs) as workers:
        for number, measured in workers.perform([partial(SampleCells.rows, one) for one in cells]):
            logger.info("%s", cells[number])
            rows |= {cell_of(row): row for row in measured}
            SAMPLE_ERRORS.write(folder, [rows[cell] for cell in sorted(rows)])
    records.write_json(
        folder / "provenance.json", provenance(module="sparsity_lab.bench.measure.sample_errors")
    )


if __name__ == "__main__":
    signals.run(partial(main, sys.argv[1:]))
