"""The measurements of a study as `MeasureSpec`s, one a table."""

from __future__ import annotations

from sparsity_lab.ladder.study.plan import Study
from sparsity_lab.measure.spec import MeasureSpec


def specs(study: Study) -> dict[str, MeasureSpec]:
    """Name of each measured table -> its settings; both rules are in one, each fixed knob in one of its own."""
    own = study.config.measure
    return {
        name: MeasureSpec(
            text=study.text,
            criterion=own.criterion,
            knob=knob,
            ppl_increase=own.ppl_increase,
            stabilise_last=own.stabilise if knob is None else None,
            tokens=own.tokens,
            window=study.window,
            device=own.device,
            dtype=own.dtype,
            seed=study.config.ladder.seed,
        )
        for name, knob in study.knobs.items()
    }
