"""The measurements as Python functions on a live `nn.Module`, for notebooks, trainers and other tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.live.arguments import Reading, Windowing, check_names, check_numbers, stream_of
from sparsity_lab.measure.live.live_model import evaluating, undisturbed
from sparsity_lab.measure.model.hooks import tapped
from sparsity_lab.measure.model.loaded import find_sites, refuse_strange_ids
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.windows import Windows, choose_window, cut
from sparsity_lab.measure.search import engine
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import (
    Calibration,
    checked,
    of_measurement,
    of_record,
    read_calibration,
    refuse_other_models,
)
from sparsity_lab.measure.work.record import shape_of
from sparsity_lab.progress import SILENT, Progress, chosen
from sparsity_lab.reading.texts.dataset_name import DatasetName, TextPlace
from sparsity_lab.settings import HEAD, SPREAD, Sampling

if TYPE_CHECKING:
    from typing_extensions import Unpack


def measure(
    model: Any,
    ids: torch.Tensor | Windows,
    *,
    criterion: str = "cett",
    knob: float | None = None,
    ppl_increase: float | None = None,
    activation_ratio: float | None = None,
    window: int | None = None,
    bos_id: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    architecture_file: Path | None = None,
    allow_untrained: bool = False,
    progress: Progress | bool | None = None,
) -> Measurement:
    """Activation ratio of a live model at a fixed knob, at PPL-p%, or at a ratio given.

    Args:
        model: a transformers causal LM, bare or in torch.compile or (Distributed)DataParallel; it is measured in
            evaluation mode and left as it was.
        ids: the text's token ids, whole numbers [tokens] or [1, tokens], one stream without padding; errors then hold
            for this text only. Or windows spread over a corpus, from `text_windows`, whose errors hold for that.
        criterion: id of a criterion (`sparsity-lab ls criteria`).
        knob: the criterion's number; leave `ppl_increase` out then.
        ppl_increase: fraction by which perplexity may rise (0.01 for PPL-1 %, the default).
        activation_ratio: share of neurons to keep; the loss rise is then the answer.
        window: tokens of a window; up to 1,024 by default.
        bos_id: token put in front of each window and not counted.
        batch_size: windows per forward pass; changes speed only.
        seed: of the bootstrap and the pilot's projection.
        architecture_file: a file of the user's own for the model's family, executed and used instead of ours.
        allow_untrained: measure a model whose perplexity is above half its vocabulary as well, flagged `untrained`.
        progress: True for bars, False for none, None for bars in a notebook; or where to report.

    Raises:
        SparsityLabError: bad arguments, an unknown model, or an implausible dense loss.
    """
    if sum(wanted is not None for wanted in (knob, ppl_increase, activation_ratio)) > 1:
        raise SparsityLabError(
            "Of knob, ppl_increase and activation_ratio more than one was given", fix="Give one of them"
        )
    check_numbers(knob=knob, ppl_increase=ppl_increase, activation_ratio=activation_ratio, seed=seed)
    check_names(criterion=criterion)
    with undisturbed(model) as itself:
        sites = find_sites(itself, architecture_file=architecture_file).sites
        windows, batch = _windows(itself, ids, window=window, bos_id=bos_id, batch_size=batch_size)
        subject = Subject(itself, sites, windows, batch, chosen(progress), allow_untrained)
        if knob is not None:
            return engine.at_knob(subject, criterion=criterion, knob=knob, seed=seed)
        if activation_ratio is not None:
            return engine.at_activation_ratio(
                subject, criterion=criterion, activation_ratio=activation_ratio, seed=seed
            )
        increase = 0.01 if ppl_increase is None else ppl_increase
        return engine.at_ppl_increase(subject, criterion=criterion, ppl_increase=increase, seed=seed)


Applicable = Sequence[float] | Measurement | Mapping[str, Any] | Path | Calibration


def measure_under(
    model: Any,
    ids: torch.Tensor | Windows,
    thresholds: Applicable,
    *,
    seed: int = 0,
    allow_untrained: bool = False,
    **reading: Unpack[Reading],
) -> Measurement:
    """Activation ratio and loss rise of a live model under thresholds found on another text.

    Args:
        model: as in `measure`.
        ids: the token ids of the text to measure on, int64 [tokens].
        thresholds: as `sparsified` takes them.
        seed, allow_untrained: as in `measure`.
        reading: window, bos_id, batch_size, architecture_file and progress, as in `measure`.

    Raises:
        SparsityLabError: thresholds of another model, or as in `measure`.
    """
    check_numbers(seed=seed)
    with live_under(model, ids, thresholds, **reading) as live:
        live.subject.allow_untrained = allow_untrained
        return engine.at_thresholds(live.subject, calibration=live.calibration, seed=seed)


@dataclass(frozen=True)
class Live:
    """A live model with a text and thresholds that are of its kind.

    Attributes:
        subject: model and windows, ready to be passed over.
        calibration: the thresholds.
        shape: sizes and parameters; see `record.shape_of`.
    """

    subject: Subject
    calibration: Calibration
    shape: dict[str, Any]


@contextmanager
def live_under(
    model: Any,
    ids: torch.Tensor | Windows,
    thresholds: Applicable,
    *,
    architecture_file: Path | None = None,
    progress: Progress = SILENT,
    **windowing: Unpack[Windowing],
) -> Iterator[Live]:
    """A live model with its text, cut into windows, and thresholds proved to be of a model of its shape.

    The model is in evaluation mode while the context lasts, and left as it was.

    Args:
        model, ids, thresholds: as in `measure_under`.
        architecture_file, progress, windowing: as `Reading` explains them.

    Raises:
        SparsityLabError: thresholds of another model, an unknown model, or a text that is too short.
    """
    calibration = calibration_of(thresholds)
    with undisturbed(model) as itself:
        found = find_sites(itself, architecture_file=architecture_file)
        sites, shape = found.sites, shape_of(itself, found)
        refuse_other_models(calibration, sites, shape=shape)
        windows, batch = _windows(itself, ids, **windowing)
        yield Live(Subject(itself, sites, windows, batch, progress), calibration, shape)


def _windows(
    model: Any,
    ids: torch.Tensor | Windows,
    *,
    window: int | None = None,
    bos_id: int | None = None,
    batch_size: int | None = None,
) -> tuple[Windows, int]:
    """The text's windows, and how many of them to pass at once."""
    check_numbers(window=window, batch_size=batch_size, bos_id=bos_id)
    if isinstance(ids, Windows):
        if window is not None or bos_id is not None:
            raise SparsityLabError(
                "The text is in windows already",
                fix="Leave window and bos_id out, or give them to text_windows",
            )
        refuse_strange_ids(model, torch.tensor([ids.largest_id]), source="The model")
        return ids, batch_size or _batch_size(model, ids.window)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    width = choose_window(window, positions=positions, bos=bos_id is not None)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    windows = cut(stream_of(ids, vocabulary=vocabulary, bos_id=bos_id), window=width, bos_id=bos_id)
    return windows, batch_size or _batch_size(model, width)


def _batch_size(model: Any, window: int) -> int:
    return auto_batch_size(model.get_input_embeddings().weight.device.type, window=window)


def text_windows(
    tokenizer: Any, text: TextPlace | str, asked: Sampling, *, column: str | None = None, pack: bool = False
) -> Windows:
    """Windows of a text, as the command line takes them: `text_windows(tokenizer, path, Sampling(65_536, 512))`.

    Args:
        tokenizer: of the model.
        text: a path, or a dataset as `DatasetName("wikitext")`; see `open_text`.
        asked: how many tokens, in windows of what length, and from where.
        column: key or column of the text, where it has several.
        pack: join documents.

    Raises:
        SparsityLabError: a text that cannot be read, or is too short.
    """
    check_numbers(tokens=asked.tokens, window=asked.window, seed=asked.seed)
    if asked.sample not in (SPREAD, HEAD):
        raise SparsityLabError(f"The sample {asked.sample!r} is none", fix=f"Write {SPREAD!r} or {HEAD!r}")
    place = text if isinstance(text, DatasetName) else Path(text)
    return sampled(tokenizer, open_text(place, column=column, pack=pack), asked)


@contextmanager
def sparsified(model: Any, thresholds: Applicable, *, architecture_file: Path | None = None) -> Iterator[Any]:
    """Run any code, generation or evaluation, with weak neurons set to zero.

    The model is in evaluation mode and uncompiled while the context lasts, as its thresholds were found; each
    module's training flag is given back.

    Args:
        model: as in `measure`.
        thresholds: one per FFN layer on the score |a_i| w_i; or a result of `measure`, a record, its path or its
            calibration, whose thresholds are applied on the score of its own criterion.
        architecture_file: as in `measure`.

    Yields:
        The model itself; the hooks are gone when the context ends.

    Raises:
        SparsityLabError: as many thresholds as the model has layers are needed, for a model of that shape.
    """
    calibration = calibration_of(thresholds)
    with evaluating(model) as itself:
        found = find_sites(itself, architecture_file=architecture_file)
        sites, shape = found.sites, shape_of(itself, found)
        refuse_other_models(calibration, sites, shape=shape)
        with tapped(sites, SparseVisitor(sites, calibration)):
            yield model


def calibration_of(thresholds: Applicable) -> Calibration:
    """What `sparsified` applies, whichever way it was given.

    Raises:
        SparsityLabError: a threshold that is negative or no number, or a record without thresholds.
    """
    if isinstance(thresholds, Calibration):
        return thresholds
    if isinstance(thresholds, Measurement):
        return of_measurement(thresholds)
    if isinstance(thresholds, Path):
        return read_calibration(thresholds)
    if isinstance(thresholds, Mapping):
        return of_record(thresholds, name=f"The record of {thresholds.get('model')}")
    return Calibration(criterion="cett", thresholds=checked(thresholds))
