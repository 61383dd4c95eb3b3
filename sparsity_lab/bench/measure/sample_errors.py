"""Do errors of activation ratios hold? Measured again and again on other samples of the same corpus.

A cell is a model, a text, a number of tokens, a way of sampling and a setting. Spread samples differ by their seed;
heads are stretches of the text, one behind the other. The truth is one spread sample of `LONG` tokens. Settings are a
fixed c, and PPL-p % for three p.

Run it with `python -m sparsity_lab.bench.measure.sample_errors FOLDER --models MODEL ... --texts TEXT ...`.
"""

from __future__ import annotations

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

from sparsity_lab.machine import signals
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.measure.checkpoint.loading import load_model, load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.windows import Windows, cut, open_text, tokenize
from sparsity_lab.measure.search import engine
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.provenance import provenance
from sparsity_lab.settings import HEAD, SPREAD, Sampling
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import SAMPLE_ERRORS

logger = logging.getLogger(__name__)

WINDOW, LONG, LONG_SEED = 512, 131_072, 9_999
C = 0.1
SETTINGS = {
    f"c = {C:g}": Setting("fixed", knob=C),
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
        _, sites = find_sites(loaded, architecture_file=None)
        return cls(loaded, sites, load_text_tokenizer(source), text)

    def samples(self, sample: str, tokens: int, count: int) -> Iterator[Windows]:
        """Spread samples by seed, or as many stretches of the text as there are."""
        text = open_text(self.text)
        if sample == SPREAD:
            for seed in range(count):
                yield sampled(self.tokenizer, text, Sampling(tokens, WINDOW, seed=seed))
            return
        read = tokenize(self.tokenizer, next(text.each()), tokens=None, say=False)
        for start in range(0, min(count * tokens, read.ids.numel() - tokens), tokens):
            yield cut(read.ids[start : start + tokens], window=WINDOW, bos_id=read.bos_id)

    def long(self) -> Windows:
        """The sample that is taken for the truth."""
        return sampled(self.tokenizer, open_text(self.text), Sampling(LONG, WINDOW, seed=LONG_SEED))

    def measured(self, windows: Windows, setting: Setting) -> Measurement:
        """One measurement."""
        subject = Subject(self.model, self.sites, windows, auto_batch_size("cpu", window=WINDOW))
        return engine.measure_subject(subject, setting, criterion="cett", seed=0)


@dataclass(frozen=True)
class SampleCell:
    """What is measured again and again.

    Attributes:
        model, text: paths.
        setting: a key of `SETTINGS`.
        tokens: of a sample.
        sample: how it is taken.
        count: samples at most.
    """

    model: Path
    text: Path
    setting: str
    tokens: int
    sample: str
    count: int

    def rows(self) -> list[Row]:
        """One row a number."""
        torch.set_num_threads(1)
        logging.getLogger("sparsity_lab").setLevel(logging.ERROR)
        bench, setting = Bench.of(self.model, self.text), SETTINGS[self.setting]
        truth = _numbers(bench.measured(bench.long(), setting))
        samples = bench.samples(self.sample, self.tokens, self.count)
        found = [_numbers(bench.measured(windows, setting)) for windows in samples]
        cell: Row = {
            "model": self.model.name, "text": self.text.stem, "setting": self.setting, "tokens": self.tokens,
            "sample": self.sample, "samples": len(found),
        }  # fmt: skip
        return list(_rows(cell, found, truth))


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
    """How far apart samples are, beside the errors that each gives, and how often intervals hold mean and truth."""
    if len(found) < 2:
        return
    for name, (true_value, _, _) in truth.items():
        values, errors, halves = np.array([one[name] for one in found]).T
        scatter = float(values.std(ddof=1))
        yield {
            **cell, "number": name, "mean": float(values.mean()), "truth": true_value,
            "scatter": scatter, "stated": float(errors.mean()), "scatter_over_se": scatter / float(errors.mean()),
            "holds_mean": float((np.abs(values - values.mean()) <= halves).mean()),
            "holds_truth": float((np.abs(values - true_value) <= halves).mean()),
            "bias_over_scatter": float((values.mean() - true_value) / scatter) if scatter else 0.0,
        }  # fmt: skip


def main(words: list[str]) -> None:
    """Run the study into a folder."""
    parser = ArgumentParser(prog="python -m sparsity_lab.bench.measure.sample_errors", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets sample-errors.csv and .md")
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 8192, 32_768])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--sample", nargs="+", choices=(SPREAD, HEAD), default=[SPREAD, HEAD])
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = records.prepare_output(asked.folder)
    cells = [
        SampleCell(model, text, setting, tokens, sample, asked.samples)
        for setting in asked.settings for tokens in asked.tokens for model in asked.models
        for text in asked.texts for sample in asked.sample
    ]  # fmt: skip
    found: dict[int, list[Row]] = {}
    with side_by_side(asked.jobs) as workers:
        for number, rows in workers.perform([partial(SampleCell.rows, cell) for cell in cells]):
            found[number] = rows
            logger.info("%s", cells[number])
            SAMPLE_ERRORS.write(folder, [row for done in sorted(found) for row in found[done]])
    records.write_json(
        folder / "provenance.json", provenance(module="sparsity_lab.bench.measure.sample_errors")
    )


if __name__ == "__main__":
    signals.run(partial(main, sys.argv[1:]))
