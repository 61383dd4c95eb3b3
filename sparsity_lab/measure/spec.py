"""What to measure: checkpoints and settings, and the cells they make."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import called, shortest
from sparsity_lab.measure.checkpoint.pinning import pinned
from sparsity_lab.measure.checkpoint.source import Source, tokenizer_of
from sparsity_lab.measure.checkpoint.trained_tokens import steps_in, tokens_in
from sparsity_lab.measure.checkpoint.weights.weight_files import ADAPTER_CONFIG, is_model
from sparsity_lab.reading.texts.dataset_name import DatasetName, TextPlace
from sparsity_lab.reading.walking import matching
from sparsity_lab.settings import (
    CRITERION,
    HEAD,
    PPL_INCREASE,
    SPREAD,
    TOKENS,
    MeasureSettings,
    Sampling,
    WeightSettings,
)
from sparsity_lab.store.file_names import refuse_undecodable

GLOB_SIGNS = frozenset("*?[")
OF_A_MODEL = ("config.json", ADAPTER_CONFIG, "model*.safetensors", "pytorch_model*.bin")
_DIGITS = re.compile(r"\d+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeasureSpec(MeasureSettings):
    """Everything the numbers of a run depend on other than the checkpoints.

    Attributes:
        text: a file or folder of texts, or the name of a dataset.
        criterion: id of the criterion.
        knob: fixed knob, or None.
        ppl_increase: p of PPL-p% as a fraction, used where `knob` and `activation_ratio` are None.
        activation_ratio: the share of neurons to keep, or None.
        further: more values of whichever of these three chooses, each measured in addition to the first.
        stabilise_last: with the series rule, how many last checkpoints the one knob is found on; else None.
        tokens: valid tokens to measure on; with `error_share`, to begin with.
        error_share: the text grows until the standard error of the loss rise is below this share of ln(1 + p);
            None for exactly `tokens`.
    The others are those of `MeasureSettings` and the classes that it inherits.
    """

    text: TextPlace
    criterion: str = CRITERION
    knob: float | None = None
    ppl_increase: float = PPL_INCREASE
    activation_ratio: float | None = None
    further: tuple[float, ...] = ()
    stabilise_last: int | None = None
    tokens: int = TOKENS
    error_share: float | None = None

    def asked(self, window: int) -> Sampling:
        """How much of the text is wanted, in windows of so many tokens."""
        default = SPREAD if self.compat is None else HEAD
        return Sampling(self.tokens, window, self.sample or default, self.seed, self.bos)


def singly(spec: MeasureSpec) -> list[MeasureSpec]:
    """One spec for each value of the knob, of p or of the ratio, the first value's first."""
    name = next(
        (one for one in ("knob", "activation_ratio") if getattr(spec, one) is not None), "ppl_increase"
    )
    return [replace(spec, **{name: value}, further=()) for value in (getattr(spec, name), *spec.further)]


def as_json(spec: Any) -> dict[str, Any]:
    """A spec of any command as JSON takes it."""
    plain = {
        key: str(value) if isinstance(value, (Path, DatasetName)) else value
        for key, value in asdict(spec).items()
    }
    if isinstance(getattr(spec, "text", None), DatasetName):  # under the name of the option that takes it
        plain |= {"text": None, "dataset": plain["text"]}
    return plain


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a series.

    Attributes:
        source: where it is.
        series: name of the run it belongs to.
        in_series: whether others of that run are measured along with it.
    """

    source: Source
    series: str
    in_series: bool = False

    def pinned(self, settings: WeightSettings) -> Checkpoint:
        """The checkpoint at the commit that its revision means now, read as the settings say; see `pinning.pinned`."""
        return replace(self, source=pinned(self.source.read_as(settings)))

    @property
    def name(self) -> str:
        """What tables call it: ID@REVISION on the Hub, else its series, and its own name where that differs."""
        return called(
            self.source.model, self.source.revision, series=self.series, on_hub=self.source.folder is None
        )


def expand(
    models: str | Path | Sequence[str | Path],
    *,
    revisions: str | Sequence[str] = (),
    gathered: bool = False,
    tokenizer: str | None = None,
) -> list[Checkpoint]:
    """Checkpoints of the models named on the command line, in natural order within each.

    A name is a model directory, a directory of checkpoint directories, a glob of either, a GGUF file, a Hub id, or
    ID@REVISION; revisions multiply Hub ids.

    Args:
        models: the names.
        revisions: of every Hub id.
        gathered: directories with one parent whose names give steps or tokens are one run's and in its order, as
            in the glob that a shell has written out. Else the order of the names is kept, for what goes with each.
        tokenizer: a directory or Hub id whose tokenizer is used instead of the checkpoints' own, or None.

    Raises:
        SparsityLabError: a glob or directory without a checkpoint, or the same checkpoint twice.
    """
    models, revisions = _words(models), _words(revisions)
    placed = [
        each
        for model in (_gathered(models) if gathered and not revisions else models)
        for each in (_expand_one(model, revisions) if isinstance(model, str) else _series(model))
    ]
    names = shortest(place for _, place in placed if isinstance(place, Path))
    chosen = None if tokenizer is None else tokenizer_of(tokenizer)
    found = [
        Checkpoint(replace(source, tokenizer=chosen), names[place] if isinstance(place, Path) else place)
        for source, place in placed
    ]
    seen: set[str] = set()
    for checkpoint in found:
        if str(checkpoint.source) in seen:
            raise SparsityLabError(
                f"The checkpoint {checkpoint.source} is named twice",
                fix="Name it once; a glob may hold it already",
            )
        seen.add(str(checkpoint.source))
    return found


def _words(given: str | Path | Sequence[str | Path]) -> list[str]:
    """One word or path, or several, as words."""
    return [os.fspath(one) for one in ([given] if isinstance(given, (str, Path)) else given)]


def _gathered(models: Sequence[str]) -> list[str | list[Path]]:
    """The names, with the checkpoints of one run grouped at the place of the first of them.

    Folders belong to one run if they have one parent and their names differ only in numbers that give steps or tokens.
    """
    beside: dict[Path, list[Path]] = {}
    for path in map(Path, models):
        told = steps_in(path.name) is not None or tokens_in(path.name) is not None
        if told and _is_one(path):
            beside.setdefault(path.resolve().parent, []).append(path)
    runs = [
        run for run in beside.values() if len(run) > 1 and len({_DIGITS.sub("#", p.name) for p in run}) == 1
    ]
    run_of = {path: run for run in runs for path in run}
    return [
        run_of.get(Path(model), model)
        for model in models
        if Path(model) not in run_of or run_of[Path(model)][0] == Path(model)
    ]


# A source, and the run it belongs to: a place whose name is the series', or that name.
Placed = tuple[Source, Path | str]


def _expand_one(model: str, revisions: Sequence[str]) -> list[Placed]:
    path, is_glob = Path(model), bool(GLOB_SIGNS & set(model)) and not os.path.exists(model)
    if revisions and (is_glob or path.exists()):
        raise SparsityLabError(f"{model} is local and has no revisions", fix="Leave --revisions out")
    if is_glob:
        matches = matching(model)
        folders = _models(matches)
        if not folders:
            raise SparsityLabError(
                f"No checkpoint matches {model}",
                why="None of its matches holds a config.json" if matches else "Nothing there has such a name",
                fix="Check the pattern, and quote it so that the shell leaves it alone",
            )
        return _series(folders)
    if path.is_dir() and not is_model(path):
        folders = _models(path.glob("*"))
        if folders:
            return _series(folders)
    sources = [Source.of(model, revision) for revision in revisions or (None,)]
    return [(one, path.resolve() if path.exists() else one.model) for one in sources]


def _is_one(path: Path) -> bool:
    """Whether a path is a folder of a checkpoint, if a broken one, and not of several."""
    return path.is_dir() and (is_model(path) or not any(map(is_model, path.glob("*"))))


def _models(paths: Iterable[Path]) -> list[Path]:
    """The folders among paths that hold a model; next to one of these, also folders that hold only its weights.

    Of the others it is said that they are left out.
    """
    folders = [path for path in paths if path.is_dir() or not path.exists()]  # or a link that leads nowhere
    if not any(map(is_model, folders)):
        return []
    models = [folder for folder in folders if any(any(folder.glob(name)) for name in OF_A_MODEL)]
    others = [str(folder) for folder in folders if folder not in set(models)]
    if others:
        logger.info("Left out, without a config.json: %s", ", ".join(sorted(others)))
    return models


def _series(folders: Sequence[Path]) -> list[Placed]:
    for folder in folders:
        refuse_undecodable(str(folder))
    ordered = sorted(folders, key=lambda p: [*map(_natural, p.parts)])
    return [(Source(str(folder)), folder.resolve().parent) for folder in ordered]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts step-2 before step-10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def percent(text: str) -> float:
    """`1%` or `0.01` as a fraction; a bare number from 1 on, which may be meant as a percentage, is told.

    Raises:
        SparsityLabError: neither.
    """
    bare = text.strip()
    try:
        share = float(bare[:-1]) / 100 if bare.endswith("%") else float(bare)
    except ValueError as error:
        raise SparsityLabError(f"{text!r} is not a share", fix="Write 1% or 0.01") from error
    if share >= 1 and not bare.endswith("%"):
        logger.warning("%s is read as %g %%. One percent is 1%% or 0.01.", bare, 100 * share)
    return share
