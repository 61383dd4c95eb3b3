"""Limits of activation ratios against parameters, from what runs say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter

from sparsity_lab.fitting.judge.verdict import IDENTIFIED
from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.reproduce.families import Limit, ScaleFit


def limits_figure(limits: Sequence[Limit], scale: Sequence[ScaleFit], stem: Path) -> list[Path]:
    """Write one panel an activation: limits with their 95 % bars, and their line in ln N where there is one."""
    kinds = list(dict.fromkeys(limit.activation for limit in limits))
    with style.styled(kinds):
        drawn, panels = style.figure(len(kinds), 1, height=1.9 * len(kinds))
        for i, (axes, kind) in enumerate(zip(panels, kinds, strict=True)):
            colour = style.COLOURS[i % len(style.COLOURS)]
            of_kind = [x for x in limits if x.activation == kind and math.isfinite(x.se)]
            for sure, fill in ((True, colour), (False, "white")):
                part = [x for x in of_kind if (x.verdict == IDENTIFIED) == sure]
                axes.errorbar(
                    [x.parameters for x in part], [x.value for x in part], yerr=_bars(part),
                    fmt="o", color=colour, markerfacecolor=fill, capsize=2, linewidth=0.8,
                    label="identified" if sure else "weakly identified",
                )  # fmt: skip
            for line in (s for s in scale if s.activation == kind):
                n = np.geomspace(min(x.parameters for x in of_kind), max(x.parameters for x in of_kind), 50)
                axes.plot(n, line.a + line.s * np.log(n / 1e9), color=style.COLOURS[-1], linewidth=0.8,
                          label=f"slope {line.s:.2g} per ln N, p = {line.p_value:.2g}")  # fmt: skip
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(0.8 * min(x.parameters for x in limits), 1.25 * max(x.parameters for x in limits))
            axes.set_xlabel("parameters")
            axes.set_ylabel(f"limit A0, {style.label(kind)}" if kind else "limit A0")
            axes.legend(loc="best", fontsize=6)
        return style.save(drawn, stem)


def _bars(limits: Sequence[Limit]) -> list[list[float]]:
    """Lengths of error bars below and above."""
    return [[x.value - x.low for x in limits], [x.high - x.value for x in limits]]
