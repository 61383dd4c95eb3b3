"""report.md of a study: what was measured and found, each claim with its number, interval and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.figures import attempted, link
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.stage import entries
from sparsity_lab.fitting.study import findings, selection, sentences
from sparsity_lab.fitting.study.curves import rule_words
from sparsity_lab.fitting.study.outcome import StudyOutcome, direction
from sparsity_lab.store import tables
from sparsity_lab.store.records import write_text

CAVEATS = """\
## What these numbers hold, and what they do not

- Intervals are 95 %. Errors of ratios are bootstraps over windows of one text, the same for every checkpoint, so that
  errors along a run are correlated and the intervals of slopes are on the wide side.
- **One run a cell**: another seed of weights and order would move a whole curve. No interval here holds that, and
  differences between runs are to be read with it in mind.
- Limits are extrapolations; *not identified* stands where the data do not bound them. Small models on about one or two
  decades of tokens say nothing about coefficients of models ten thousand times larger.
- A slope is that of a straight line in ln tokens; curvature counts as scatter and widens its interval.
- Under the series rule the one CETT is found on the last checkpoints and shared by all of a run: its own error moves
  a curve up or down as a whole.
"""


@dataclass(frozen=True)
class StudySettings:
    """What the page says of how the study was measured."""

    name: str
    ppl_increase: float
    stabilise: int


def write_report(found: StudyOutcome, folder: Path, *, settings: StudySettings) -> Path:
    """Write report.md and its figures into a study's folder, from its tables and fits.

    Args:
        found: what the study's curves say.
        folder: of the study; holds `width-depth/` and `loss/` where those laws could be fitted.
        settings: of the study.
    """
    p, path = settings.ppl_increase, folder / "report.md"
    _draw(found, folder / "plots", ppl_increase=p)
    losses = {path.name: entries(path)[0] for path in sorted((folder / "loss").glob("*")) if entries(path)}
    shape_fits = entries(folder / "width-depth")
    sections = [
        _head(found, settings, shape_fits, page=path),
        *[_direction(found, kind, p) for kind in selection.activations(found.curves)],
        _rules(found, page=path),
        _section(
            "Which activation is sparser at equal loss?",
            findings.equal_loss(found, ppl_increase=p),
            _at_loss(found),
        ),
        _section(
            "Against the width-depth ratio: linear, then flat?",
            findings.width_depth(found, shape_fits, ppl_increase=p),
            _picture("Activation ratio against the width-depth ratio", "width_depth", page=path)
            if found.shapes
            else "",
        ),
        _section("Against size", findings.size(found, ppl_increase=p)),
        _section("Loss: L = E + a N^-alpha + b D^-beta", _loss(losses)),
        CAVEATS,
        _files(),
    ]
    write_text(path, "\n".join(sections))
    return path


def _draw(found: StudyOutcome, figures: Path, *, ppl_increase: float) -> None:
    with attempted(stem := figures / "two_rules"):
        from sparsity_lab.fitting.plots import study as plots

        plots.two_rules(found.curves, stem, ppl_increase=ppl_increase)
    with attempted(stem := figures / "all_runs"):
        from sparsity_lab.fitting.plots import study as plots

        plots.all_runs(found.curves, stem, ppl_increase=ppl_increase)
    if found.shapes:
        with attempted(stem := figures / "width_depth"):
            from sparsity_lab.fitting.plots import study as plots

            plots.width_depth(found.shapes, stem, ppl_increase=ppl_increase)


def _picture(words: str, name: str, *, page: Path) -> str:
    """A figure of the study on its page, or nothing where it is missing."""
    return "".join(f"{line}\n" for line in link(words, page.parent / "plots" / name, page=page))


def _head(
    found: StudyOutcome, settings: StudySettings, shape_fits: Sequence[Mapping[str, Any]], *, page: Path
) -> str:
    first = selection.of(found.curves, rule=selection.rules(found.curves)[0])
    rows = [
        {
            "run": curve.run,
            "activation": curve.activation,
            "d": curve.hidden_size,
            "layers": curve.layers,
            "parameters": int(curve.parameters),
            "checkpoints": len(curve.tokens),
            "tokens": int(curve.tokens[-1]),
            "tokens / parameter": float(curve.tokens_per_parameter[-1]),
            "last loss (nats)": float(curve.loss_nats[-1]),
        }
        for curve in first
    ]
    by_rule = {fit["series"]: fit for fit in shape_fits}
    short = sentences.summary(found, by_rule, ppl_increase=settings.ppl_increase)
    rules = "; ".join(
        rule_words(rule, ppl_increase=settings.ppl_increase) for rule in selection.rules(found.curves)
    )
    return "\n".join(
        [
            f"# Study {settings.name}\n",
            f"{len(first)} runs, {sum(len(curve.tokens) for curve in first)} checkpoints, each measured by every rule: "
            f"{rules}. The series rule finds its CETT on the last {settings.stabilise} checkpoints of a run (mean "
            f"perplexity ratio {1 + settings.ppl_increase:g}). Parameters are without embeddings. The paper is "
            "*Sparsing Law* (arXiv 2411.02335).\n",
            tables.to_markdown(rows, list(rows[0])),
            _picture("All runs under every rule", "all_runs", page=page),
            "In short (counts of runs or comparisons whose 95 % interval decides; the numbers are below):\n",
            tables.to_markdown(short, list(short[0])) if short else "",
        ]
    )


def _direction(found: StudyOutcome, activation: str, ppl_increase: float) -> str:
    lines = sentences.direction(found, activation, ppl_increase=ppl_increase)
    order = list(dict.fromkeys(curve.run for curve in found.curves))
    rows = [
        _direction_row(direction(found, curve), ppl_increase)
        for curve in sorted(
            selection.of(found.curves, activation=activation), key=lambda curve: order.index(curve.run)
        )
    ]
    return _section(
        f"{activation}: which way with data?",
        [f"- {line}" for line in lines],
        tables.to_markdown(rows, list(rows[0])),
    )


def _direction_row(row: Mapping[str, Any], ppl_increase: float) -> dict[str, object]:
    known = (float("nan") if row[key] is None else row[key] for key in ("limit", "limit_low", "limit_high"))
    limit = row["limit_bound"] if row["verdict"] == NOT else sentences.interval(*known)
    return {
        "run": row["run"],
        "rule": rule_words(row["rule"], ppl_increase=ppl_increase),
        "first ratio": row["first_ratio"],
        "last ratio": row["last_ratio"],
        "slope per factor e": sentences.interval(row["slope"], row["slope_low"], row["slope_high"]),
        "": row["way"],
        "law": row["law"] or "none",
        "verdict": row["verdict"] or "",
        "limit": limit or "",
        "best by AICc": row["best_by_aicc"] or "",
    }


def _rules(found: StudyOutcome, *, page: Path) -> str:
    kinds = [kind for kind in ("relu", "silu") if kind in selection.activations(found.curves)]
    lines = [
        line
        for kind in kinds or selection.activations(found.curves)
        for line in sentences.two_rules(found, kind)
    ]
    meant = [sentences.meaning(found, kind) for kind in kinds or selection.activations(found.curves)]
    return _section(
        "The two rules beside each other",
        [
            *link("The two rules along training", page.parent / "plots" / "two_rules", page=page),
            *lines,
            "**What that means for the published law.** " + " ".join(meant),
        ],
        "Every stretch with both slopes: [compare/segments.md](compare/segments.md).\n",
    )


def _at_loss(found: StudyOutcome) -> str:
    if not found.at_loss:
        return ""
    rows = [
        {
            "rule": rule_words(one.rule),
            "parameters": int(one.parameters),
            "loss (nats)": one.loss_nats,
            "activation": one.activation,
            "activation ratio": one.ratio,
            "± se": one.se,
            "tokens needed": int(one.tokens),
        }
        for one in sorted(found.at_loss, key=lambda one: (one.rule, one.parameters, one.ratio))
    ]
    return "All activations at the lowest loss their group has in common:\n\n" + tables.to_markdown(
        rows, list(rows[0])
    )


def _loss(losses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return findings.loss_laws(losses)


def _section(title: str, lines: list[str], after: str = "") -> str:
    listed = [line.startswith("- ") for line in lines]
    # A paragraph is set off by empty lines, also from a list before it.
    gaps = ["" if one and before else "\n" for one, before in zip(listed, [True, *listed], strict=False)]
    body = "\n".join(gap + line for gap, line in zip(gaps, lines, strict=True)).strip("\n")
    return f"## {title}\n\n{body}\n\n{after}".rstrip() + "\n"


def _files() -> str:
    return (
        "## Files\n\n"
        "- `compare/`: tables of every question, CSV and Markdown; `compare.json` has all of them.\n"
        "- `measure/`: one table a rule or fixed CETT. `fit/`: laws, rivals, profiles, locks of each table.\n"
        "- `width-depth/`, `loss/`: the laws across runs. `sparsity-lab check` refits every lock.\n"
    )
