"""`bench measure --against`: loads a model and a text, compares both paths on them and writes what came out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from sparsity_lab.bench.measure.comparison import EngineComparison, compare_at_cett, compare_at_ppl_increase
from sparsity_lab.bench.measure.overhead import device_name
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.devices import DTYPES, choose_device
from sparsity_lab.measure.checkpoint.loading import load_config, load_model, load_text_tokenizer
from sparsity_lab.measure.checkpoint.pinning import pinned
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.compat import NAMES
from sparsity_lab.measure.criteria.cett import KNOB
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.tokenizers import bos_of
from sparsity_lab.measure.model.windows import choose_window
from sparsity_lab.measure.search.targets import check_increase
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.registry import unknown
from sparsity_lab.settings import HEAD, Sampling, WeightSettings
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.bench import AGAINST


@dataclass(frozen=True)
class AgainstSpec:
    """What is compared, and on what.

    Attributes:
        name: of the reproduced algorithm.
        model: directory, GGUF file or Hub id.
        text: what its first windows are taken of.
        tokens: of the text; the reference keeps the activations of all of them.
        window: tokens of a window, None for up to 1,024.
        device, dtype: as for `measure`.
        ppl_increase: p, a fraction.
        knob: the fixed c; None for the engine's answer at PPL-p%, at two significant digits.
        seed: of the engine's pilot and the bootstraps.
        tokenizer: a directory or Hub id whose tokenizer is used instead of the model's own, or None.
        weights: what is allowed and said of the model's weights.
        text_column, pack: as for `measure`.
    """

    name: str
    model: str
    text: TextPlace
    tokens: int
    window: int | None
    device: str
    dtype: str
    ppl_increase: float
    knob: float | None
    seed: int = 0
    tokenizer: str | None = None
    weights: WeightSettings = field(default_factory=WeightSettings)
    text_column: str | None = None
    pack: bool = False

    def check(self) -> None:
        """Refuse what could not be compared, before anything is loaded.

        Raises:
            SparsityLabError: an unknown algorithm or dtype, or bad settings.
        """
        if self.name not in NAMES:
            raise unknown(self.name, kind="reproduced algorithm", known=list(NAMES))
        if self.dtype not in DTYPES:
            raise unknown(self.dtype, kind="dtype", known=list(DTYPES))
        check_increase(self.ppl_increase)
        if self.knob is not None:
            KNOB.check(self.knob, criterion="cett")


def run_against(spec: AgainstSpec, output: Path, *, progress: Progress = SILENT) -> list[EngineComparison]:
    """Load a model, compare at PPL-p% and at a fixed c, and write `NAME.json`, `.csv` and `.md`.

    Raises:
        SparsityLabError: as `AgainstSpec.check`, or no such model or text.
    """
    spec.check()
    prepare_output(output)
    subject = _subject(spec, progress)
    searched = compare_at_ppl_increase(subject, ppl_increase=spec.ppl_increase, seed=spec.seed)
    fixed = float(f"{searched.rows[0].knob:.2g}") if spec.knob is None else spec.knob
    comparisons = [searched, compare_at_cett(subject, c=fixed, seed=spec.seed)]
    _write(output / spec.name, comparisons, subject=subject, spec=spec)
    return comparisons


def _subject(spec: AgainstSpec, progress: Progress) -> Subject:
    if spec.model.startswith("random:"):
        raise SparsityLabError(
            "Random weights have no perplexity to compare at",
            fix="Give a model directory, GGUF file or Hub id",
        )
    text = open_text(spec.text, column=spec.text_column, pack=spec.pack)
    source, place = (
        pinned(Source.of(spec.model, tokenizer=spec.tokenizer).read_as(spec.weights)),
        choose_device(spec.device),
    )
    config = load_config(source)
    reader = load_text_tokenizer(source)
    width = choose_window(
        spec.window,
        positions=getattr(config, "max_position_embeddings", None),
        bos=bos_of(reader)[0] is not None,
    )
    windows = sampled(reader, text, Sampling(spec.tokens, width, HEAD))
    live = load_model(source, dtype=DTYPES[spec.dtype], device=place)
    return Subject(live, find_sites(live).sites, windows, auto_batch_size(place, window=width), progress)


def _write(stem: Path, comparisons: list[EngineComparison], *, subject: Subject, spec: AgainstSpec) -> None:
    rows = [asdict(row) for comparison in comparisons for row in comparison.rows]
    windows = subject.windows
    write_json(
        stem.with_suffix(".json"),
        {
            "model": Path(spec.model).name,
            "tokens": windows.tokens,
            "window": windows.window,
            "bos": windows.bos_id is not None,
            "layers": len(subject.sites),
            "text_sha256": windows.sha256,
            "text_source": windows.sampling()["text_source"],
            "device": device_name(choose_device(spec.device)),
            "dtype": spec.dtype,
            "threads": torch.get_num_threads(),
            "seed": spec.seed,
            "rows": rows,
            "comparisons": [comparison.summary() for comparison in comparisons],
            "provenance": provenance(tokenizer=list(windows.notes)),
        },
    )
    AGAINST.write(stem.parent, rows, name=stem.name)
