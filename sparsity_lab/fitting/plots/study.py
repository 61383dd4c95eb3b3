"""A study's figures: the two rules side by side, all runs under every rule, and the width-depth ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from sparsity_lab.fitting.plots.canvas.axes import BARS, HALF, look, plain_ticks
from sparsity_lab.fitting.plots.canvas.style import COLOURS, figure, label, save, styled
from sparsity_lab.fitting.study import selection
from sparsity_lab.fitting.study.curves import OWN, SERIES, RunCurve, rule_words
from sparsity_lab.fitting.study.shapes import Shaped

SIDESTEP = 1.04  # so that the bars of two rules do not cover each other
ALL_WIDTH_INCHES = 7.0


def two_rules(curves: Sequence[RunCurve], stem: Path, *, ppl_increase: float) -> list[Path]:
    """ReLU above SiLU (or whatever the activations with most sizes are); color is size, filled the series rule."""
    both = [curve for curve in curves if curve.rule in (SERIES, OWN)]
    kinds = _most_sizes(both)
    with styled():
        drawn, panels = figure(len(kinds), 1, height=0.55 + 1.75 * len(kinds))
        for axes, kind in zip(panels, kinds, strict=True):
            family = selection.one_a_size(selection.of(both, rule=SERIES, activation=kind))
            names = [curve.run for curve in family]
            for curve in selection.of(both, activation=kind):
                if curve.run in names:
                    _one_rule(axes, curve, names.index(curve.run))
            _tokens_axis(axes, label=kind is kinds[-1])
            axes.set_ylabel(f"activation ratio, {label(kind)}")
            sizes = [Line2D([], [], color=look(i)["color"], label=_size(c)) for i, c in enumerate(family)]
            axes.legend(handles=sizes, loc="best", handlelength=1.2, labelspacing=0.3, title="parameters",
                        title_fontsize=6, fontsize=6)  # fmt: skip
        drawn.legend(
            handles=_rule_handles(ppl_increase), loc="outside upper center", ncols=2, handlelength=2.4
        )
        return save(drawn, stem)


def all_runs(curves: Sequence[RunCurve], stem: Path, *, ppl_increase: float) -> list[Path]:
    """Every run, one panel a rule; color is the activation."""
    rules, kinds = selection.rules(curves), selection.activations(curves)
    with styled():
        drawn, panels = figure(1, len(rules), width=ALL_WIDTH_INCHES, height=2.8)
        for axes, rule in zip(panels, rules, strict=True):
            for curve in selection.of(curves, rule=rule):
                axes.plot(curve.tokens_per_parameter, curve.ratio, linewidth=0.8, markersize=2,
                          **look(kinds.index(curve.activation)))  # fmt: skip
            _tokens_axis(axes)
            axes.set_title(rule_words(rule, ppl_increase=ppl_increase))
        top = max(axes.get_ylim()[1] for axes in panels)
        for axes in panels:
            axes.set_ylim(0, top)
        panels[0].set_ylabel("activation ratio")
        handles = [Line2D([], [], **look(i), label=label(kind)) for i, kind in enumerate(kinds)]
        drawn.legend(handles=handles, loc="outside lower center", ncols=len(kinds))
        return save(drawn, stem)


def width_depth(shapes: Sequence[Shaped], stem: Path, *, ppl_increase: float) -> list[Path]:
    """The ratio against d/L at equal tokens, one line a rule, 95 % bars."""
    rules = list(dict.fromkeys(shape.rule for shape in shapes))
    with styled():
        drawn, (axes,) = figure(height=2.7)
        for i, rule in enumerate(rules):
            of_rule = [shape for shape in shapes if shape.rule == rule]
            axes.errorbar(
                [shape.width_depth_ratio * SIDESTEP ** (i - 1) for shape in of_rule],
                [shape.activation_ratio for shape in of_rule],
                yerr=[HALF * shape.activation_ratio_se for shape in of_rule], **look(i), **BARS, linewidth=0.8,
                label=rule_words(rule, ppl_increase=ppl_increase),
            )  # fmt: skip
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
        axes.set_xlabel("width-depth ratio, hidden size / layers")
        axes.set_ylabel(f"activation ratio, {label(shapes[0].activation)}")
        drawn.legend(loc="outside upper center", ncols=2, fontsize=6, handlelength=1.6)
        return save(drawn, stem)


def _most_sizes(curves: Sequence[RunCurve]) -> list[str]:
    """ReLU and SiLU where they are, otherwise the one or two activations with most sizes."""
    kinds = selection.activations(curves)
    usual: list[str] = [kind for kind in kinds if kind in ("relu", "silu")]
    by_sizes = sorted(
        kinds, key=lambda kind: -len(selection.sizes(selection.of(curves, rule=SERIES, activation=kind)))
    )
    return usual or by_sizes[:2]


def _one_rule(axes: Axes, curve: RunCurve, i: int) -> None:
    series = curve.rule == SERIES
    colour = COLOURS[i % len(COLOURS)]
    axes.errorbar(
        curve.tokens_per_parameter, curve.ratio, yerr=HALF * curve.se, color=colour, marker="o" if series else "s",
        markersize=2.8, markerfacecolor=colour if series else "white", linestyle="-" if series else "--",
        linewidth=0.9, elinewidth=0.5, capsize=1.2,
    )  # fmt: skip


def _rule_handles(ppl_increase: float) -> list[Line2D]:
    return [
        Line2D([], [], color="#444444", marker="o", label=rule_words(SERIES)),
        Line2D([], [], color="#444444", marker="s", linestyle="--", markerfacecolor="white",
               label=rule_words(OWN, ppl_increase=ppl_increase, perplexity="PPL")),
    ]  # fmt: skip


def _tokens_axis(axes: Axes, *, label: bool = True) -> None:
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    if label:
        axes.set_xlabel("tokens per parameter")


def _size(curve: RunCurve) -> str:
    """Parameters at two digits, as 80k or 0.64M."""
    return str(EngFormatter(sep="")(float(f"{curve.parameters:.2g}")))
