"""report.md of a study: what was measured and found, each claim with its number, interval and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.figures import attempted, link
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.stage import entries
from sparsity_lab.fitting.study import conclusions, selection
from sparsity_lab.fitting.study.conclusions import EXPECTED, NOT_DECIDED, QUALITY, STANDARD
from sparsity_lab.fitting.study.curves import OWN, SERIES, rule_words
from sparsity_lab.fitting.study.outcome import StudyOutcome, direction
from sparsity_lab.fitting.study.shapes import BENDS, FEWEST
from sparsity_lab.store.records import write_text
from sparsity_lab.store.tables import interval, number, to_markdown, write_table

MEANING = f"""\
What the verdict says of the published law, whose curve is the series rule's:

- *{STANDARD}*: the rules disagree in more runs than they agree in. One CETT for the series then holds early and late
  checkpoints to different standards, because the CETT that costs the same perplexity moves along the runs; its curve
  shows the change of the model together with the change of the standard.
- *{QUALITY}*: where both rules decide alike, the ratio goes the same way under either.
- *{NOT_DECIDED}*: these runs do not decide it.
"""
BENDS_MEAN = f"""\
*{BENDS}*: a law without a plateau explains the bend better by AICc, so that the ratio ends flat is not shown.
"""
SIZE_MEANS = """\
An interval that holds zero shows no dependence; it excludes only what lies outside it.
"""
CAVEATS = """\
## What these numbers hold, and what they do not

- Intervals are 95 %. Errors of ratios come from the windows of one text, the same for every checkpoint, so that errors
  along a run are correlated, which slopes do not know: their errors are 1.1 to 1.3 times too small at a given CETT, and
  more where the one CETT of the series rule moves.
- Where the windows are the head of the text (the column `sample` of the measured tables; so are all tables without that
  column), errors hold for that text only: stretches of one corpus differ by 1.5 to 3 times as much.
- **One run a cell**: another seed of weights and order would move a whole curve. No interval here holds that, and
  differences between runs are to be read with it in mind.
- Limits are extrapolations; *not identified* means that the data do not bound them. Small models on about one or two
  decades of tokens say nothing about coefficients of models ten thousand times larger.
- A slope is that of a straight line in ln tokens; curvature counts as scatter and widens its interval.
- Under the series rule the one CETT is found on the last checkpoints and shared by all of a run: its own error moves
  a curve up or down as a whole.
"""


FILES = """\
## Files

- `compare/`: tables of every question, CSV and Markdown; `compare.json` has all of them but `summary`.
- `measure/`: one table a rule or fixed CETT. `fit/`: laws, rivals, profiles, locks of each table.
- `width-depth/`, `loss/`: the laws across runs. `sparsity-lab check` refits every lock.
"""


@dataclass(frozen=True)
class StudySettings:
    """What the page says of how the study was measured."""

    name: str
    ppl_increase: float
    stabilise: int


def write_report(outcome: StudyOutcome, folder: Path, *, settings: StudySettings) -> Path:
    """Write report.md, its figures and compare/summary into a study's folder, from its tables and fits.

    Args:
        outcome: what the study's curves say.
        folder: of the study; holds `width-depth/` and `loss/` where those laws could be fitted.
        settings: of the study.
    """
    p, path = settings.ppl_increase, folder / "report.md"
    _draw(outcome, folder / "plots", ppl_increase=p)
    losses = {
        place.name: fits[0] for place in sorted((folder / "loss").glob("*")) if (fits := entries(place))
    }
    shape_fits = entries(folder / "width-depth")
    summary = conclusions.summary(outcome, {fit["series"]: fit for fit in shape_fits}, ppl_increase=p)
    if summary:
        write_table(folder / "compare" / "summary", summary, list(summary[0]))
    parts = [
        *_head(outcome, settings, page=path),
        "In short (counts of runs or comparisons whose 95 % interval decides; the numbers are below):\n",
        _table(summary, ""),
        *[part for kind in selection.activations(outcome.curves) for part in _direction(outcome, kind, p)],
        *_rules(outcome, page=path),
        *_at_equal_loss(outcome, p),
        *_shapes(outcome, conclusions.width_depth(outcome, shape_fits, ppl_increase=p), page=path),
        "## Against size\n",
        _table(
            conclusions.size(outcome, ppl_increase=p),
            "Fewer than three sizes of one activation: nothing can be said.",
        ),
        *([SIZE_MEANS] if outcome.against_size else []),
        "## Loss: L = E + a N^-alpha + b D^-beta\n",
        _table(conclusions.loss_laws(losses), "No activation has two sizes: no loss law."),
        CAVEATS,
        FILES,
    ]
    write_text(path, "\n".join(parts))
    return path


def _table(rows: Sequence[Mapping[str, object]], otherwise: str) -> str:
    """Rows as a table, or a sentence where there are none."""
    return to_markdown(rows, list(rows[0])) if rows else f"{otherwise}\n"


def _draw(outcome: StudyOutcome, figures: Path, *, ppl_increase: float) -> None:
    for name in ("two_rules", "all_runs", *(["width_depth"] if outcome.shapes else [])):
        with attempted(stem := figures / name):
            from sparsity_lab.fitting.plots import study as plots

            shown = outcome.shapes if name == "width_depth" else outcome.curves
            getattr(plots, name)(shown, stem, ppl_increase=ppl_increase)


def _picture(words: str, name: str, *, page: Path) -> str:
    """A figure of the study on its page, or nothing where it is missing."""
    return "".join(f"{line}\n" for line in link(words, page.parent / "plots" / name, page=page))


def _head(outcome: StudyOutcome, settings: StudySettings, *, page: Path) -> list[str]:
    curves = selection.of(outcome.curves, rule=selection.rules(outcome.curves)[0])
    rows = [
        {"run": curve.run, "activation": curve.activation, "d": curve.hidden_size, "layers": curve.layers,
         "parameters": int(curve.parameters), "checkpoints": len(curve.tokens), "tokens": int(curve.tokens[-1]),
         "tokens / parameter": float(curve.tokens_per_parameter[-1]), "last loss (nats)": float(curve.loss_nats[-1])}
        for curve in curves
    ]  # fmt: skip
    rules = "; ".join(
        rule_words(rule, ppl_increase=settings.ppl_increase) for rule in selection.rules(outcome.curves)
    )
    return [
        f"# Study {settings.name}\n",
        f"{len(curves)} runs, {sum(len(curve.tokens) for curve in curves)} checkpoints, each measured by every rule: "
        f"{rules}. The series rule finds its CETT on the last {settings.stabilise} checkpoints of a run (mean "
        f"perplexity ratio {1 + settings.ppl_increase:g}). Parameters are without embeddings. The paper is "
        "*Sparsing Law* (arXiv 2411.02335).\n",
        _table(rows, ""),
        _picture("All runs under every rule", "all_runs", page=page),
    ]


def _direction(outcome: StudyOutcome, activation: str, ppl_increase: float) -> list[str]:
    order = list(dict.fromkeys(curve.run for curve in outcome.curves))
    curves = sorted(
        selection.of(outcome.curves, activation=activation), key=lambda curve: order.index(curve.run)
    )
    rows = [_direction_row(direction(outcome, curve), ppl_increase) for curve in curves]
    way, law = EXPECTED.get(activation, ("", ""))
    return [
        f"## {activation}: which way with data?\n",
        f"Slopes are per factor e of tokens.{f' The paper: it {way}, as a {law} law.' if way else ''}\n",
        _table(conclusions.directions(outcome, activation, ppl_increase=ppl_increase), ""),
        _table(rows, ""),
    ]


def _direction_row(row: Mapping[str, Any], ppl_increase: float) -> dict[str, object]:
    limit = interval(row["limit"], row["limit_low"], row["limit_high"], unknown="not known")
    return {
        "run": row["run"],
        "rule": rule_words(row["rule"], ppl_increase=ppl_increase),
        "first ratio": row["first_ratio"],
        "last ratio": row["last_ratio"],
        "slope per factor e": interval(
            row["slope"], row["slope_low"], row["slope_high"], unknown="not known"
        ),
        "way": row["way"],
        "law": row["law"] or "none",
        "verdict": row["verdict"] or "",
        "limit": (row["limit_bound"] if row["verdict"] == NOT else limit) or "",
        "best by AICc": row["best_by_aicc"] or "",
    }


def _rules(outcome: StudyOutcome, *, page: Path) -> list[str]:
    measured = selection.activations(outcome.curves)
    kinds = [kind for kind in EXPECTED if kind in measured] or measured
    both = conclusions.two_rules(outcome, kinds)
    stretches = conclusions.deciding_stretches(outcome, kinds)
    return [
        "## The two rules side by side\n",
        _picture("The two rules along training", "two_rules", page=page),
        _table(both, f"No run was measured under both rules, {rule_words(SERIES)} and {rule_words(OWN)}."),
        *([MEANING] if both else []),
        "Stretches in which both rules have a direction; every stretch with both slopes is in "
        "[compare/segments.md](compare/segments.md):\n",
        _table(stretches, "None."),
        "What sets them apart, run by run:\n",
        _table(conclusions.standards(outcome, kinds), "No run has a CETT of its own."),
    ]


def _at_equal_loss(outcome: StudyOutcome, ppl_increase: float) -> list[str]:
    rows = [
        {"rule": rule_words(point.rule), "parameters": int(point.parameters), "loss (nats)": point.loss_nats,
         "activation": point.activation, "activation ratio": point.ratio, "± se": point.se,
         "tokens needed": int(point.tokens)}
        for point in sorted(outcome.at_loss, key=lambda point: (point.rule, point.parameters, point.ratio))
    ]  # fmt: skip
    pairs = conclusions.equal_loss(outcome, ppl_increase=ppl_increase)
    return [
        "## Which activation is sparser at equal loss?\n",
        _table(pairs, "No two activations of one shape reached a common loss."),
        *(
            ["All activations at the lowest loss their group has in common:\n", _table(rows, "")]
            if rows
            else []
        ),
    ]


def _shapes(outcome: StudyOutcome, rows: Sequence[Mapping[str, object]], *, page: Path) -> list[str]:
    parts = ["## Against the width-depth ratio: linear, then flat?\n"]
    if rows:
        shaped = outcome.shapes_of(selection.rules(outcome.curves)[0])
        ratios = ", ".join(number(shape.width_depth_ratio, 3) for shape in shaped)
        smallest, *_, largest = sorted(shape.parameters / 1e6 for shape in shaped)
        parts.append(
            f"{len(shaped)} {shaped[0].activation} runs of {number(smallest, 3)}M to {number(largest, 3)}M parameters, "
            f"d/L {ratios}, at {number(shaped[0].tokens / 1e6, 3)}M tokens.\n"
        )
    parts.append(_table(rows, f"Fewer than {FEWEST} shapes of one size and activation: nothing can be said."))
    if any(row["finding"] == BENDS for row in rows):
        parts.append(BENDS_MEAN)
    if outcome.shapes:
        parts.append(_picture("Activation ratio against the width-depth ratio", "width_depth", page=page))
    return parts
