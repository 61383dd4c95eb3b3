"""A study as a config writes it: a ladder, and how its checkpoints are measured and fitted.

    measure:   {tokens: 65_536, stabilise: 5, fixed_cett: 0.1}
    fit:       {bootstrap: 200}

Neither section is part of what a training run is: to change them never retrains anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.ladder_config import parse_config, read_config
from sparsity_lab.ladder.config.sections import LADDER, build
from sparsity_lab.ladder.config.spec import LadderConfig
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.measure.sources.named import the_text
from sparsity_lab.settings import CRITERION, HEAD, PPL_INCREASE, SPREAD, TOKENS, ModelSettings

FIXED_CETT = (0.1,)
FEWEST_POINTS = 6  # coefficients of the larger law, and two to spare


@dataclass(frozen=True, kw_only=True)
class MeasureSection:
    """The keys of `measure`.

    Attributes:
        text: a UTF-8 file, JSON lines, a parquet file or a folder of these; left out, as `dataset` is, the held-out
            part of the ladder's corpus.
        dataset: in its place, a dataset as `measure --dataset` names it.
        text_column: key or column of the text, where it has several.
        pack: join documents, so that windows go over their borders.
        tokens: of it that are measured on.
        window: tokens of a window; left out, as long as the models take.
        sample: where the windows lie, `spread` over the text or at its `head`.
        criterion: which neurons are weak.
        ppl_increase: p of PPL-p% as a fraction; the series rule and each checkpoint's own knob both have it.
        stabilise: how many last checkpoints of a run the series rule finds its one knob on.
        fixed_cett: values of CETT that every checkpoint is measured at as well; left out, 0.1 for `cett`.
        device, dtype: as for torch, or `auto`.
    """

    text: str | None = None
    dataset: str | None = None
    text_column: str | None = None
    pack: bool = False
    tokens: int = TOKENS
    window: int | None = None
    sample: str = SPREAD
    criterion: str = CRITERION
    ppl_increase: float = PPL_INCREASE
    stabilise: int = 5
    fixed_cett: tuple[float, ...] | None = None
    device: str = ModelSettings.device
    dtype: str = ModelSettings.dtype

    def __post_init__(self) -> None:
        if self.criterion not in (known := registry.names("criteria")):
            raise registry.unknown(self.criterion, kind="criterion", known=known)
        if self.sample not in (SPREAD, HEAD):
            raise SparsityLabError(
                f"`sample` under measure is {self.sample!r}", fix=f"Write {SPREAD} or {HEAD}"
            )
        if self.fixed_cett is not None and self.fixed_cett and self.criterion != "cett":
            raise SparsityLabError(
                f"fixed_cett means nothing under the criterion {self.criterion}",
                fix="Leave it out, or set `criterion: cett` under measure",
            )
        ranges.check_fields(self, command=LADDER)
        if len(set(self.knobs)) < len(self.knobs):
            raise SparsityLabError("`measure.fixed_cett` names a value twice", fix="Keep one of the two")
        if self.text is not None and not Path(self.text).exists():
            raise SparsityLabError(f"There is no text {self.text}", fix="Check `text` under measure")
        if self.text is not None or self.dataset is not None:
            the_text(None if self.text is None else Path(self.text), self.dataset)

    @property
    def knobs(self) -> tuple[float, ...]:
        """The fixed values of CETT."""
        if self.fixed_cett is None:
            return FIXED_CETT if self.criterion == "cett" else ()
        return self.fixed_cett


@dataclass(frozen=True, kw_only=True)
class FitSection:
    """The keys of `fit`.

    Attributes:
        bootstrap: refits for intervals.
        drop: leading checkpoints left out of the laws.
        segments: edges, in tokens per non-embedding parameter, between which slopes are compared.
    """

    bootstrap: int = 200
    drop: int = 0
    segments: tuple[float, ...] = (0.2, 1, 5, 25, 125, 625, 3125)

    def __post_init__(self) -> None:
        ranges.check_fields(self, command=LADDER)
        if len(self.segments) < 2 or any(low >= high for low, high in pairwise(self.segments)):
            raise SparsityLabError(
                "`fit.segments` must be two or more ascending numbers",
                fix="Write `segments` under fit as [0.2, 1, 5, 25]",
            )


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A ladder and what is done with its checkpoints."""

    ladder: LadderConfig
    measure: MeasureSection = field(default_factory=MeasureSection)
    fit: FitSection = field(default_factory=FitSection)

    def __post_init__(self) -> None:
        longest = max(len(checkpoint_steps(run.training)) for run in self.ladder.runs)
        if longest - self.fit.drop < FEWEST_POINTS:
            raise SparsityLabError(
                f"No run has more than {longest} checkpoints, of which {self.fit.drop} are left out",
                why=f"The laws need {FEWEST_POINTS}",
                fix="Plan more checkpoints under training",
            )
        for run in self.ladder.runs:
            planned = len(checkpoint_steps(run.training))
            if planned < self.measure.stabilise:
                raise SparsityLabError(
                    f"Run {run.name} has {planned} checkpoints, the series rule asks for the last "
                    f"{self.measure.stabilise}",
                    fix="Plan more checkpoints, or a smaller `stabilise` under measure",
                )
            if self.measure.window is not None and self.measure.window > run.shape.positions:
                raise SparsityLabError(
                    f"`measure.window` of {self.measure.window} tokens is beyond the {run.shape.positions} positions "
                    f"of run {run.name}",
                    fix=f"Set `window` under measure to {run.shape.positions} or less, or leave it out",
                )

    def with_seed(self, seed: int) -> StudyConfig:
        """The same study with another seed of everything."""
        return replace(self, ladder=self.ladder.with_seed(seed))

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON."""
        sections = {
            "measure": {**asdict(self.measure), "fixed_cett": list(self.measure.knobs)},
            "fit": asdict(self.fit),
        }
        return {"ladder": self.ladder.as_dict(), **sections}


def load_study(name: str | Path) -> StudyConfig:
    """Read a study from a YAML file, or a bundled one by name.

    Raises:
        SparsityLabError: as `load_config`, and for the sections `measure` and `fit`.
    """
    return read_config(name, parse_study)


def parse_study(content: Mapping[str, Any], *, default_name: str = "study") -> StudyConfig:
    """A study from nested plain values, as YAML gives them.

    Raises:
        SparsityLabError: as `load_study`.
    """
    return StudyConfig(
        ladder=parse_config(content, default_name=default_name),
        measure=build(MeasureSection, content.get("measure", {}), where="measure"),
        fit=build(FitSection, content.get("fit", {}), where="fit"),
    )
