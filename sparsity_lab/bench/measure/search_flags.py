"""How often are the flags of a search right? Searches along planted curves, and on samples of a text.

The flags are `not_reached`, `off_target` and `not_monotone`. Of a planted curve it is known, without noise, which of
them are right. Of a model it is not: there the flags of short samples are compared with those of one long sample.

Run it with `python -m sparsity_lab.bench.measure.search_flags FOLDER --models MODEL ... --texts TEXT ...`, a text for
each model; without these only planted curves are searched. Cells that the folder has from other runs stay in its table.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sparsity_lab.bench.measure.planted_curves import CURVES, PlantedCurve
from sparsity_lab.bench.measure.planted_search import LEAST_FALL, CurveFacts, PlantedData, planted_search
from sparsity_lab.bench.measure.sample_errors import LONG_SEED, WINDOW, Bench
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine import signals
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.settings import HEAD, SPREAD, Sampling
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import SEARCH_FLAGS

logger = logging.getLogger(__name__)

FLAGS = ("not_reached", "off_target", "not_monotone")
PLANTED, PLANTED_P = "planted", 0.01
Row = dict[str, object]


def planted_row(
    curve: PlantedCurve, *, noise: float, windows: int, searches: int, sample: str = SPREAD
) -> Row:
    """How often each flag is raised, and should be, along one curve.

    Args:
        curve: planted.
        noise: standard error of the rise at the target, over the target.
        windows: of a data set.
        searches: how many data sets, each with noise of its own.
        sample: how the windows were taken.
    """
    found, facts, seen = [], [], []
    for seed in range(searches):
        data = PlantedData.drawn(
            curve, target_nats=math.log1p(PLANTED_P), noise=noise, windows=windows, seed=seed
        )
        found.append(planted_search(data, sample=sample))
        facts.append(data.facts())
        seen.append(data.falls_between(np.array([e.x for e in found[-1].searched if e.counts.seen.all()])))
    return {
        "part": PLANTED, "curve": curve.name, "sample": sample, "target": PLANTED_P, "windows": windows, "noise": noise,
        "fall": float(np.mean([fact.fall for fact in facts])), "fall_seen": float(np.mean(seen)),
        **_shares(found, right=_right(facts), ratios=[fact.ratio for fact in facts]),
    }  # fmt: skip


def _right(facts: Sequence[CurveFacts]) -> dict[str, float]:
    return {
        "not_reached": float(np.mean([fact.not_reached for fact in facts])),
        "off_target": float(np.mean([fact.off_target for fact in facts])),
        "not_monotone": float(np.mean([fact.fall > LEAST_FALL for fact in facts])),
    }


def _shares(found: Sequence[Measurement], *, right: dict[str, float], ratios: Sequence[float]) -> Row:
    """The columns that both parts have: shares of flags, and how far the ratios of the unflagged are from the true."""
    row: Row = {"searches": len(found)}
    for flag in FLAGS:
        row[flag] = float(np.mean([flag in measured.flags for measured in found]))
        row[f"{flag}_right"] = right[flag]
    row["noisy"] = float(np.mean(["noisy" in measured.flags for measured in found]))
    is_plain = np.array([not set(FLAGS) & set(measured.flags) for measured in found])
    row["unflagged"] = float(is_plain.mean())
    off = np.array([measured.activation_ratio for measured in found]) / np.array(ratios) - 1
    off = off[is_plain & np.isfinite(off)]
    if len(off) > 1:
        scatter = float(off.std(ddof=1))
        row |= {"bias": float(off.mean()), "bias_se": scatter / len(off) ** 0.5, "scatter": scatter}
    return row


def real_rows(
    bench: Bench, *, name: str, targets: Sequence[float], sizes: Sequence[tuple[int, int]], long: int
) -> Iterator[Row]:
    """How often each flag is raised on short samples of a text, compared with a long one.

    Args:
        bench: model and text.
        name: of both.
        targets: the p of PPL-p%, fractions.
        sizes: of each, the tokens of a sample, and how many samples.
        long: tokens of the long sample.
    """
    windows = sampled(bench.tokenizer, open_text(bench.text), Sampling(long, WINDOW, seed=LONG_SEED))
    for p in targets:
        setting = Setting("ppl-increase", ppl_increase=p)
        truth = bench.measured(windows, setting)
        right = {flag: float(flag in truth.flags) for flag in FLAGS}
        groups = [(windows.sample, windows.count, [truth])]
        groups += [
            (
                SPREAD,
                tokens // WINDOW,
                [bench.measured(one, setting) for one in bench.samples(SPREAD, tokens, count)],
            )
            for tokens, count in sizes
        ]
        for sample, count, found in groups:
            errors = [measured.errors.loss_delta_nats / math.log1p(p) for measured in found]
            ratios = [truth.activation_ratio] * len(found)
            yield {
                "part": "real", "curve": name, "sample": sample, "target": p, "windows": count,
                "noise": float(np.mean(errors)), **_shares(found, right=right, ratios=ratios),
            }  # fmt: skip


def cell_of(row: Row) -> tuple[str, ...]:
    """Which searches a row of the table is about; the noise of real curves is found, not asked for."""
    asked = [row["target"], row["windows"], *([row["noise"]] if row["part"] == PLANTED else [])]
    numbers = [f"{float(str(number)):g}" for number in asked]
    return (str(row["part"]), str(row["curve"]), str(row["sample"]), *numbers)


def _read(table: Path) -> list[Row]:
    """The rows of a table that an earlier run wrote."""
    words = ("part", "curve", "sample")
    return [
        {key: cell if key in words or not cell else float(cell) for key, cell in row.items()}
        for _, row in read_csv(table, as_written=True)[1]
    ]


def _planted_rows(asked: Namespace) -> Iterator[Row]:
    for curve, sample, windows, noise in itertools.product(CURVES, asked.sample, asked.windows, asked.noise):
        logger.info("%s, %d windows (%s), noise %g", curve.name, windows, sample, noise)
        yield planted_row(curve, noise=noise, windows=windows, searches=asked.searches, sample=sample)


def _all_real_rows(asked: Namespace) -> Iterator[Row]:
    sizes = tuple(zip(asked.tokens, asked.samples, strict=True))
    for model, text in zip(asked.models, asked.texts, strict=True):
        logger.info("%s on %s", model.name, text.name)
        bench, name = Bench.of(model, text), f"{model.name}, {text.stem}"
        yield from real_rows(bench, name=name, targets=asked.targets, sizes=sizes, long=asked.long)


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m sparsity_lab.bench.measure.search_flags", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets search-flags.csv and .md")
    parser.add_argument("--models", type=Path, nargs="*", default=[])
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help="one for each model")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.001, 0.01, 0.05, 0.5])
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--samples", type=int, nargs="+", default=[8, 3], help="one number for each size")
    parser.add_argument("--long", type=int, default=32_768, help="tokens of the long sample")
    parser.add_argument(
        "--noise", type=float, nargs="*", default=[0.02, 0.1, 0.3, 1.0], help="none: real curves only"
    )
    parser.add_argument("--windows", type=int, nargs="+", default=[16, 64], help="of planted data")
    parser.add_argument("--searches", type=int, default=200, help="planted data sets of a cell")
    parser.add_argument(
        "--sample", nargs="+", choices=(SPREAD, HEAD), default=[SPREAD, HEAD], help="planted windows"
    )
    return parser


def main(words: list[str]) -> None:
    """Run the study into a folder."""
    asked = _arguments().parse_args(words)
    if len(asked.models) != len(asked.texts):
        raise SparsityLabError(
            f"{len(asked.models)} models have {len(asked.texts)} texts",
            fix="Give one text for each of --models",
        )
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = records.prepare_output(asked.folder)
    table = folder / "search-flags.csv"
    rows = {cell_of(row): row for row in (_read(table) if table.exists() else ())}
    for row in itertools.chain(_planted_rows(asked), _all_real_rows(asked)):
        rows[cell_of(row)] = row
        SEARCH_FLAGS.write(folder, sorted(rows.values(), key=lambda one: str(one["part"])))
    records.write_json(
        folder / "search-flags.provenance.json", provenance(module="sparsity_lab.bench.measure.search_flags")
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    signals.run(partial(main, sys.argv[1:]))
