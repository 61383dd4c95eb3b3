"""Estimates, and where asked for measures, what the sparsity of records is worth; writes tables and `affinity.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.neurons.affinity.found import Body, predictions_of, read_bodies, source_of
from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan
from sparsity_lab.measure.neurons.affinity.timed import TimedCase, time_case
from sparsity_lab.measure.neurons.affinity.traffic import ASSUMPTIONS, SHARED_ASSUMPTIONS, traffic_rows
from sparsity_lab.measure.neurons.affinity.weights import weights_at
from sparsity_lab.measure.neurons.predictors.record import KIND as PREDICT
from sparsity_lab.measure.neurons.tables import identity
from sparsity_lab.measure.sources.named import NamedText
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.reading.texts.dataset_name import DatasetName, TextPlace
from sparsity_lab.settings import ModelSettings
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.affinity import BREAK_EVEN, DECODE, PRODUCTS, TRAFFIC

logger = logging.getLogger(__name__)
Row = dict[str, Any]
Known = tuple[Path, Body]
READER_TOKENS = (1, 8, 64)
MEASURED = (PRODUCTS, BREAK_EVEN, DECODE)

INTERVAL = "From, to: 95 % interval of the median over alternating pairs, from order statistics."
NOTES = {
    "affinity_products": (
        INTERVAL,
        "**model**: the model's own weights and activations under the thresholds; **planted**: random ones.",
        "**calls**: 8 x 8, nothing but the cost of calling. Products of about its time tell of overhead, not of "
        "memory.",
        "Weights that fit into a cache are read from there, and dense bytes/s show it; active columns alone fit sooner "
        "than all weights, which favours the sparse product.",
    ),
    "affinity_break_even": (INTERVAL, "Of planted activations, interpolated between the ratios tried."),
    "affinity_decode": (
        INTERVAL,
        "Dense: the model as it is. Sparse: scores, thresholds and masks, and `sparse_down` in place of every down "
        "projection; one token at a time from the KV cache.",
        "Ideal: output-side bytes at this context; what is not bytes (launches, Python) is in both times.",
    ),
}


@dataclass(frozen=True)
class AffinitySpec:
    """What to look at.

    Attributes:
        found: records of `neurons`, or folders of them.
        predictors: records of `predict`, or folders of them.
        models: where models lie, where that is not as recorded.
        texts: of records to be timed, where not as the run's own `neurons.json` says.
        costs: bytes.
        plan: what is timed, or None.
        machine: where.
    """

    found: tuple[Path, ...]
    predictors: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()
    texts: tuple[NamedText, ...] = ()
    costs: Costs = field(default_factory=Costs)
    plan: TimingPlan | None = None
    machine: ModelSettings = field(default_factory=ModelSettings)


def estimate_affinity(
    spec: AffinitySpec, *, output: Path, progress: Progress = SILENT
) -> dict[str, list[Row]]:
    """Every table of every record, written to `output`; the tables by name.

    Raises:
        SparsityLabError: bad settings, records, models or texts; a product that is wrong on this device.
    """
    spec.costs.check()
    if spec.plan is not None:
        spec.plan.check()
    with records.no_empty_folders(output):
        records.prepare_output(output)
        cases = _cases(spec)
        predictions = read_bodies(spec.predictors, kind=PREDICT) if spec.predictors else []
        found = {"affinity": _estimated(spec, cases, predictions)}
        places: list[Row] = []
        if spec.plan is not None:
            timed, places = _timed(spec, spec.plan, cases, progress=progress)
            found |= timed
    _write(output, found, spec=spec, places=places)
    return found


def _cases(spec: AffinitySpec) -> list[TimedCase]:
    """Every record with its model's weights, and where it is to be timed its text."""
    known = read_bodies(spec.found)
    models = len({body["model"] for _, body in known})
    cases = []
    for path, body in known:
        source = source_of(body, spec.models, models=models).read_as(spec.machine)
        text = Path() if spec.plan is None else _text_of(path, body, spec.texts)
        weights = weights_at(source, body=body, architecture_file=spec.machine.architecture_file)
        cases.append(TimedCase(body, path, source, text, weights))
    _refuse_unused(spec, cases)
    return cases


def _refuse_unused(spec: AffinitySpec, cases: Sequence[TimedCase]) -> None:
    """Refuse places of models and texts that are of no record, rather than ignore them."""
    used, recorded = {case.source.model for case in cases}, {case.body["model"] for case in cases}
    texts = {case.body["text"] for case in cases}
    named = [text.name for text in spec.texts]
    for option, given, taken, known in (
        ("--model", spec.models, used, recorded),
        ("--text", named, texts, texts),
    ):
        for name in given:
            if name not in taken:
                raise SparsityLabError(
                    f"{option} {name} is of none of the records",
                    fix=f"They are of {', '.join(sorted(known))}",
                )


def _text_of(path: Path, body: Mapping[str, Any], given: Sequence[NamedText]) -> TextPlace:
    """Where a record's text is: the one given under its name, or as `neurons.json` next to the records says."""
    for text in given:
        if text.name == body["text"]:
            return text.path
    for folder in (path.parent.parent, path.parent):
        try:
            told = json_or_none(folder / "neurons.json")["texts"][body["text"]]
        except (LookupError, TypeError):
            continue
        if isinstance(told, str) and "dataset" in (body.get("text_source") or {}):
            return DatasetName(told)
        if isinstance(told, str) and Path(told).exists():
            return Path(told)
    raise SparsityLabError(
        f"The text {body['text']} of {path} is not at hand",
        why="Measuring takes activations of the model on its own text",
        fix=f"Name it with --text {body['text']}=FILE",
    )


def _estimated(spec: AffinitySpec, cases: Sequence[TimedCase], known: Sequence[Known]) -> list[Row]:
    rows, matched = [], 0
    for case in cases:
        predictions = predictions_of(case.body, known)
        matched += predictions is not None
        found = traffic_rows(case.body, case.weights, costs=spec.costs, predictions=predictions)
        rows += [{**identity(case.body), **row} for row in found]
    if known and not matched:
        raise SparsityLabError(
            "None of the records of `predict` is of the thresholds and text of a record of `neurons`",
            fix="Run both commands with the same --thresholds, --text, --tokens and --window",
        )
    return rows


def _timed(
    spec: AffinitySpec, plan: TimingPlan, cases: Sequence[TimedCase], *, progress: Progress
) -> tuple[dict[str, list[Row]], list[Row]]:
    """Rows of every timed table, by its name, and where each record was timed."""
    by_table: dict[str, list[Row]] = {table.name: [] for table in MEASURED}
    places = []
    shelf = Shelf(spec.machine.architecture_file)
    for case in cases:
        timed, where = time_case(case, plan, machine=spec.machine, shelf=shelf, progress=progress)
        for name, rows in timed.items():
            by_table[name] += [{**identity(case.body), **row} for row in rows]
        places.append({**identity(case.body), **where})
    return by_table, places


def _write(
    output: Path, found: Mapping[str, list[Row]], *, spec: AffinitySpec, places: Sequence[Row]
) -> None:
    for table in (TRAFFIC, *MEASURED):
        rows = found.get(table.name, [])
        shown = [row for row in rows if row.get("tokens", 1) in READER_TOKENS]
        sentences = _assumptions(spec, rows) if table is TRAFFIC else NOTES[table.name]
        table.write(output, rows, shown=shown, notes=_listed(sentences))
    records.write_json(
        output / "affinity.json",
        {
            "costs": asdict(spec.costs),
            "plan": None if spec.plan is None else asdict(spec.plan),
            "assumptions": [*SHARED_ASSUMPTIONS, *(f"{name}: {said}" for name, said in ASSUMPTIONS.items())],
            **found,
            "timed_on": list(places),
            "provenance": provenance(),
        },
    )


def _assumptions(spec: AffinitySpec, rows: Sequence[Row]) -> list[str]:
    """What the estimates suppose."""
    costs = spec.costs
    shown = dict.fromkeys(row["convention"] for row in rows)
    stated = (
        f"{costs.bytes_per_weight:g} bytes a weight; {costs.context_tokens:,} tokens in the KV cache at "
        f"{costs.bytes_per_kv:g} bytes an entry."
    )
    first = "Speed-ups are ideal: upper bounds under these assumptions."
    return [first, stated, *SHARED_ASSUMPTIONS, *(f"**{name}**: {ASSUMPTIONS[name]}." for name in shown)]


def _listed(sentences: Sequence[str]) -> str:
    return "\n" + "".join(f"- {sentence}\n" for sentence in sentences)
