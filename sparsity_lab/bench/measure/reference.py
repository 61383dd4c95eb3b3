"""`bench measure --against`: loads a model and a text, compares both paths on them and writes what came out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from sparsity_lab.bench.measure.comparison import EngineComparison, compare_at_cett, compare_at_ppl_increase
from sparsity_lab.bench.measure.overhead import device_name
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.devices import DTYPES, choose_device
from sparsity_lab.measure.checkpoint.loading import load_config, load_model, load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import Source, pinned
from sparsity_lab.measure.compat import NAMES
from sparsity_lab.measure.criteria.cett import KNOB
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.windows import choose_window, read_text, tokenize
from sparsity_lab.measure.search.targets import check_increase
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.registry import unknown
from sparsity_lab.store import tables
from sparsity_lab.store.records import prepare_output, write_json

READER_COLUMNS = {
    "question": "question",
    "path": "path",
    "seconds": "seconds",
    "cpu_seconds": "processor seconds",
    "forward_passes": "forward passes",
    "products": "products",
    "syncs": "host syncs",
    "peak_mib": "peak memory (MiB)",
    "knob": "c",
    "activation_ratio": "activation ratio",
    "activation_ratio_se": "± se",
    "loss_delta_nats": "loss rise (nats)",
    "loss_delta_se_nats": "± se (nats)",
    "flags": "flags",
}


def run_against(
    name: str, model: str, *, text: Path, tokens: int, window: int | None, device: str, dtype: str,
    ppl_increase: float, knob: float | None, output: Path, seed: int = 0, progress: Progress = SILENT,
    tokenizer: str | None = None,
) -> list[EngineComparison]:  # fmt: skip
    """Load a model, compare at PPL-p% and at a fixed c, and write `NAME.json`, `.csv` and `.md`.

    Args:
        name: of the reproduced algorithm.
        model: directory, GGUF file or Hub id.
        text: UTF-8 file.
        tokens: of the text; the reference keeps the activations of all of them.
        window: tokens of a window, None for up to 1,024.
        device, dtype: as for `measure`.
        ppl_increase: p, a fraction.
        knob: the fixed c; None for the engine's answer at PPL-p%, at two significant digits.
        output: folder for the results.
        seed: of the engine's pilot and the bootstraps.
        progress: where to report.
        tokenizer: a directory or Hub id whose tokenizer is used instead of the model's own, or None.

    Raises:
        SparsityLabError: an unknown algorithm or dtype, no such model or text, or bad settings.
    """
    if name not in NAMES:
        raise unknown(name, kind="reproduced algorithm", known=list(NAMES))
    if dtype not in DTYPES:
        raise unknown(dtype, kind="dtype", known=list(DTYPES))
    check_increase(ppl_increase)
    if knob is not None:
        KNOB.check(knob, criterion="cett")
    prepare_output(output)
    subject = _subject(
        model, text=text, tokens=tokens, window=window, device=device, dtype=dtype, progress=progress,
        tokenizer=tokenizer,
    )  # fmt: skip
    searched = compare_at_ppl_increase(subject, ppl_increase=ppl_increase, seed=seed)
    fixed = float(f"{searched.rows[0].knob:.2g}") if knob is None else knob
    comparisons = [searched, compare_at_cett(subject, c=fixed, seed=seed)]
    _write(output / name, comparisons, subject=subject, model=model, device=device, dtype=dtype, seed=seed)
    return comparisons


def _subject(
    model: str, *, text: Path, tokens: int, window: int | None, device: str, dtype: str, progress: Progress,
    tokenizer: str | None,
) -> Subject:  # fmt: skip
    if model.startswith("random:"):
        raise SparsityLabError(
            "Random weights have no perplexity to compare at",
            fix="Give a model directory, GGUF file or Hub id",
        )
    read = read_text(text, tokens=tokens)
    source, place = pinned(Source.of(model, tokenizer=tokenizer)), choose_device(device)
    config = load_config(source)
    tokenized = tokenize(load_text_tokenizer(source), read, tokens=tokens)
    width = choose_window(
        window, positions=getattr(config, "max_position_embeddings", None), bos=tokenized.bos_id is not None
    )
    windows = tokenized.windows(width, source=text)
    live = load_model(source, dtype=DTYPES[dtype], device=place)
    return Subject(live, find_sites(live)[1], windows, auto_batch_size(place, window=width), progress)


def _write(
    stem: Path, comparisons: list[EngineComparison], *, subject: Subject, model: str, device: str, dtype: str,
    seed: int,
) -> None:  # fmt: skip
    rows = [asdict(row) for comparison in comparisons for row in comparison.rows]
    windows = subject.windows
    write_json(
        stem.with_suffix(".json"),
        {
            "model": Path(model).name,
            "tokens": windows.tokens,
            "window": windows.window,
            "bos": windows.bos_id is not None,
            "layers": len(subject.sites),
            "text_sha256": windows.sha256,
            "device": device_name(choose_device(device)),
            "dtype": dtype,
            "threads": torch.get_num_threads(),
            "seed": seed,
            "rows": rows,
            "comparisons": [comparison.summary() for comparison in comparisons],
            "provenance": provenance(tokenizer=list(windows.notes)),
        },
    )
    tables.write_table(stem, rows, READER_COLUMNS)
