"""Which tokens of a text need many neurons: kept activations counted token by token and layer by layer.

Thresholds of a record are applied as `sparsified` applies them, and behind them the activations that are left are
counted: neuron i of layer l is kept at token t where its score lies above eps_l and a_i is not exactly zero. The
ratio is 1 - |D|/F of that token and layer, so that all counts over all tokens give the activation ratio. Of a mixture
of experts a layer is one of the model: the neurons of the experts a token goes to are counted, shared ones among them,
and F is how many these have together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from sparsity_lab import ranges, tokenization
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import Applicable, calibration_of, sparsified
from sparsity_lab.measure.checkpoint.loading import load_text_tokenizer
from sparsity_lab.measure.checkpoint.prepared import Ready
from sparsity_lab.measure.live.live_model import undisturbed
from sparsity_lab.measure.model.hooks import tapped
from sparsity_lab.measure.model.loaded import find_sites, refuse_strange_ids
from sparsity_lab.measure.model.tokenizers import as_text_tokenizer, bos_of
from sparsity_lab.measure.model.windows import TokenizedText, tokenize
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.tokens import ActiveByToken
from sparsity_lab.measure.sources.paragraph import paragraph_of
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work.cells import Cell, Desk, Recipe, RunTerms, determinants_of
from sparsity_lab.measure.work.preparing import ModelPreparer
from sparsity_lab.measure.work.run_cells import HERE, Means, cell_run, command_words
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.reading.texts.passages import FileText
from sparsity_lab.settings import HeatSettings
from sparsity_lab.store import records, tables
from sparsity_lab.store.file_names import file_name

logger = logging.getLogger(__name__)
ALGORITHM = 1  # raised when a change to this file changes numbers; part of every content key
RECORDS = "heat_records"  # their folder in an output
MOST_TOKENS = 2048


@dataclass(frozen=True)
class HeatSpec(HeatSettings):
    """What to show: the beginning of `text`, or of one of its documents; the others are those of `HeatSettings`."""

    text: TextPlace


def token_heat(
    model: Any, tokenizer: Any, paragraph: str, thresholds: Applicable, *,
    tokens: int = HeatSettings.tokens, bos: bool = True, architecture_file: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Kept neurons of each token of a paragraph in each layer, and the loss of each token, in the sparse run.

    Args:
        model: as in `measure`.
        tokenizer: its tokenizer.
        paragraph: the text, in one window.
        thresholds: a record of `measure`, its path, its calibration, or bare thresholds, as for `sparsified`.
        tokens: how many tokens of it at most; fewer where the model has not as many positions.
        bos: put a BOS before it where the tokenizer uses one; it is not counted.
        architecture_file: as in `measure`.

    Returns:
        tokens (strings that joined are the text), token_ids, sizes (F of each layer; of a mixture, the neurons of the
        experts that a token goes to, the most there are), active (int [tokens][layers]), of a mixture
        experts_per_token (of each layer, 0 where it has none), activation_ratio, loss_sparse_nats (nats), bos,
        tokenizer_notes (what tokenizing lost or switched off), criterion, thresholds, knob, ppl_increase_target and
        calibrated_on.

    Raises:
        SparsityLabError: fewer than two tokens, thresholds of another model, or a mixture whose routes cannot be seen.
    """
    ranges.check("tokens", tokens, command="heat", flag="tokens", whole=True)
    ranges.check_kind("paragraph", paragraph, str)
    with undisturbed(model) as itself:
        sites = find_sites(itself, architecture_file=architecture_file).sites
        bos_id = bos_of(tokenizer)[0] if bos else None
        room = _room(itself, tokens, bos=bos_id is not None)
        read = tokenize(tokenizer, paragraph, tokens=room, bos=bos, spans=True)
        ids, pieces = read.ids.tolist(), _pieces(tokenizer, paragraph, read)
        seen = torch.tensor([*ids, *([] if bos_id is None else [bos_id])])
        refuse_strange_ids(itself, seen, source=getattr(itself, "name_or_path", "") or "the model")
        calibration = calibration_of(thresholds)
        layers = ModelLayers.of(sites)
        counter, losses = _run(
            itself, layers, ids, calibration, bos_id=bos_id, architecture_file=architecture_file
        )
        active, sizes = counter.active(ids), counter.sizes(ids)
        return {
            "criterion": calibration.criterion,
            "thresholds": list(calibration.thresholds),
            "calibrated_on": calibration.calibrated_on,
            "ppl_increase_target": calibration.ppl_increase,
            "knob": calibration.knob,
            "tokens": pieces,
            "token_ids": ids,
            "sizes": sizes,
            **({"experts_per_token": counter.experts_per_token()} if layers.routers else {}),
            "active": active,
            "activation_ratio": sum(map(sum, active)) / (sum(sizes) * len(ids)),
            "loss_sparse_nats": losses,
            "bos": bos_id is not None,
            "tokenizer_notes": list(read.notes),
        }


@dataclass(frozen=True)
class HeatRecipe(Recipe[Ready, dict[str, Any]]):
    """The heat map of one paragraph.

    Attributes:
        calibration: the thresholds.
        paragraph: the text.
        origin: `text`, the name of its file or dataset, and `text_source`; no part of the key.
    `tokens` and `bos` are as in `token_heat`.
    """

    calibration: Calibration
    paragraph: FileText
    origin: Mapping[str, Any]
    tokens: int
    bos: bool

    @property
    def label(self) -> str:
        """The text."""
        return str(self.origin["text"])

    def key(self, prepared: Ready) -> str:
        """See `Recipe`."""
        paragraph = {"text": self.paragraph, "text_notes": list(self.paragraph.notes)}
        asked = {
            "heat": ALGORITHM,
            "tokens": self.tokens,
            "bos": self.bos,
            "calibration": self.calibration.identity(),
        }
        return records.content_key({**determinants_of(prepared), **paragraph, **asked})

    def find(self, folder: Path, key: str) -> dict[str, Any] | None:
        """See `Recipe`."""
        return records.find_record(folder, key)

    def make(self, prepared: Ready, key: str, desk: Desk) -> dict[str, Any]:
        """See `Recipe`."""
        source = prepared.checkpoint.source
        tokenizer = load_text_tokenizer(source)
        loading = desk.kept.shelf(prepared).model(source, dtype=prepared.dtype, device=prepared.device)
        heat = token_heat(
            loading.model, tokenizer, self.paragraph, self.calibration, tokens=self.tokens, bos=self.bos,
            architecture_file=prepared.reading.architecture_file,
        )  # fmt: skip
        origin = prepared.provenance(desk.terms.command, notes=heat.pop("tokenizer_notes"))
        body = {**self._names(prepared), **heat, "provenance": origin, "content_key": key}
        return records.write_sealed(desk.terms.folder, body)

    def named(self, prepared: Ready, record: dict[str, Any], folder: Path) -> dict[str, Any]:
        """See `Recipe`."""
        return {**record, **self._names(prepared)}

    def _names(self, prepared: Ready) -> dict[str, Any]:
        source = prepared.checkpoint.source
        return {
            "model": source.model,
            "revision": source.revision,
            "commit": source.commit,
            **self.origin,
        }


def write_heat(
    spec: HeatSpec, asked: Sequence[tuple[Checkpoint, Path]], *, output: Path, means: Means = HERE
) -> list[tuple[Path, dict[str, Any]]]:
    """Count the kept neurons of a text's tokens, where it has not been done before.

    Args:
        spec: what to show.
        asked: models, each with the record of `measure` whose thresholds are applied. A failure of one ends the run.
        output: gets `heat_records/` and `token_heat.json`, `.csv` and `.md`; these in a folder for each of several.
        means: launcher and progress.

    Returns:
        The folder and the counts of each model; for these see `token_heat`.

    Raises:
        SparsityLabError: no such model, record or text, or as `token_heat`.
    """
    ranges.check_fields(spec, command="heat")
    calibrations = [calibration_of(record) for _, record in asked]
    paragraph, origin = paragraph_of(spec.text, spec)
    reading = spec.of_model()
    recipes = [HeatRecipe(each, paragraph, origin, spec.tokens, spec.bos) for each in calibrations]
    terms = RunTerms(output / RECORDS, command_words(), spec.again)
    with cell_run(terms, means) as run:
        preparer = ModelPreparer(reading, elsewhere=run.crew.device)
        ready = [preparer.prepare(checkpoint) for checkpoint, _ in asked]
        answers = run.records(list(map(Cell, recipes, ready)), label="heat")
    written = []
    for (checkpoint, _), record in zip(asked, answers, strict=True):
        heat = {key: value for key, value in record.items() if key not in records.SEALS}
        folder = output if len(asked) == 1 else output / file_name(checkpoint.name)
        records.write_json(folder / "token_heat.json", heat)
        rows = _rows(heat)
        tables.write_table(folder / "token_heat", rows, list(rows[0]))
        written.append((folder, heat))
    return written


@torch.no_grad()
def _run(
    model: Any, layers: ModelLayers, ids: Sequence[int], calibration: Calibration, *,
    bos_id: int | None, architecture_file: Path | None,
) -> tuple[ActiveByToken, list[float | None]]:  # fmt: skip
    """What was counted of one window, and the loss of each token."""
    before = [] if bos_id is None else [bos_id]
    inputs = torch.tensor([[*before, *ids]], device=model.get_input_embeddings().weight.device)
    counter = ActiveByToken(layers)
    sparse = sparsified(model, calibration, architecture_file=architecture_file)
    with sparse, counter.routes.watched(), tapped(layers.sites, counter):
        logits = model(input_ids=inputs, use_cache=False).logits[0]
    goal = inputs[0, 1:].to(logits.device)
    losses = functional.cross_entropy(logits[:-1].float(), goal, reduction="none").double().tolist()
    return counter, [*([None] if bos_id is None else []), *losses]


def _pieces(tokenizer: Any, text: str, read: TokenizedText) -> list[str]:
    """The strings of a text's tokens; joined they are the text these cover."""
    ids = read.ids.tolist()
    if len(ids) < 2:
        raise SparsityLabError(
            f"The text has {len(ids)} token(s): too few for a heat map",
            fix="Give more of it with --tokens or --line",
        )
    if read.spans is None:
        return [tokenization.decoded(as_text_tokenizer(tokenizer).encoder, [token]) for token in ids]
    # A character split over several tokens belongs to the last of them; the others show as empty.
    starts = [0, *(start for start, _ in read.spans[1:])]
    ends = [*starts[1:], read.spans[-1][1]]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def _room(model: Any, wanted: int, *, bos: bool) -> int:
    """Tokens that fit in one window."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or MOST_TOKENS
    room = min(MOST_TOKENS, positions - int(bos))
    if wanted > room:
        logger.info("%d tokens instead of %d: one window holds no more", room, wanted)
    return min(wanted, room)


def _rows(heat: dict[str, Any]) -> list[dict[str, object]]:
    """One row a token."""
    return [
        {
            "position": t,
            "token": repr(token)[1:-1],
            "token_id": heat["token_ids"][t],
            "loss_sparse_nats": heat["loss_sparse_nats"][t],
            "activation_ratio": sum(heat["active"][t]) / sum(heat["sizes"]),
            **{
                f"layer_{i}": n / f
                for i, (n, f) in enumerate(zip(heat["active"][t], heat["sizes"], strict=True))
            },
        }
        for t, token in enumerate(heat["tokens"])
    ]
