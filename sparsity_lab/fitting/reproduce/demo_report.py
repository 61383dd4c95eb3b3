"""The summary at the end of `sparsity-lab demo`: what was measured, fitted and found, with its plots.

It reads what the other commands wrote and adds what a model of this size can and cannot show.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.stage import entries
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store import tables
from sparsity_lab.store.records import write_text

WAYS = {"series": "one CETT for the series", "ppl-increase": "own CETT at +1 % perplexity"}

CAVEATS = """\
## What models this small can and cannot show

- They can show **directions**: with a fixed share of error allowed, ReLU tends to need fewer neurons as it learns
  and SiLU more. The table above says whether they did so here.
- They can show that **the rule matters**: one CETT for a whole series and a CETT of each checkpoint's own are
  different quantities, and along one run they can move in opposite directions.
- They cannot show **limits**. Ten checkpoints over less than one decade of tokens seldom pin an asymptote, and *not
  identified* is then the right answer. Where a fit is called identified, it is the law's limit on this short run,
  not what the model would come to.
- The errors of the series rule are those at its CETT. The CETT itself is found on five checkpoints and is uncertain
  for all of them alike: it moves a whole curve up or down, not its direction.
- They cannot show **size**: 0.2 million parameters say nothing about the coefficients of models ten thousand times
  larger. The published series fitted below are the ones to cite.
- The text is Python source of the environment's own packages: ratios depend on the text, and on the packages.
"""


def write_report(folder: Path) -> Path:
    """Write `report.md` from the results of the demo's steps in `folder`, and return its path.

    Args:
        folder: holds `measure/rules/`, `fit/rules/`, `fit-sparsing-law/` and `density/`.
    """
    parts = [
        "# sparsity-lab demo\n",
        _measured(folder),
        _fitted(folder / "fit" / "rules", "Laws fitted to these runs", at=folder),
        CAVEATS,
        _fitted(
            folder / "fit-sparsing-law", "The published series of the Sparsing Law, fitted again", at=folder
        ),
        _density(folder / "density", at=folder),
    ]
    path = folder / "report.md"
    write_text(path, "\n".join(parts))
    return path


def _measured(folder: Path) -> str:
    measured = folder / "measure" / "rules"
    rows = [row for _, row in read_csv(measured / "table.csv", as_written=True)[1]]
    tokens = int(rows[0]["tokens"])
    return "\n".join(
        [
            "## Measured\n",
            f"{len({row['series'] for row in rows})} LLaMA-type runs trained on the spot, "
            f"{int(rows[0]['params_total']):,} parameters each; {tokens:,} tokens of held-out text. The rule of a row "
            "says how its CETT was chosen.\n",
            tables.to_markdown(_directions(rows), list(_directions(rows)[0])),
            _picture(measured / "activation_ratio.png", "Activation ratio along training", at=folder),
            (measured / "table.md").read_text(encoding="utf-8"),
        ]
    )


def _directions(rows: list[dict[str, str]]) -> list[dict[str, object]]:
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["series"], row["rule"]].append(row)
    return [_direction(name, rule, group) for (name, rule), group in groups.items()]


def _direction(name: str, rule: str, rows: list[dict[str, str]]) -> dict[str, object]:
    """First against last checkpoint; within two standard errors of their difference it is called level."""
    first, last = rows[0], rows[-1]
    change = float(last["activation_ratio"]) - float(first["activation_ratio"])
    error = (float(first["activation_ratio_se"]) ** 2 + float(last["activation_ratio_se"]) ** 2) ** 0.5
    way = "level within its error" if abs(change) <= 2 * error else "falls" if change < 0 else "rises"
    return {
        "series": name,
        "rule": WAYS.get(rule, rule),
        "CETT": _range([float(row["knob"]) for row in rows]),
        "first ratio": float(first["activation_ratio"]),
        "last ratio": float(last["activation_ratio"]),
        "change": change,
        "± se": error,
        "direction": way,
    }


def _range(values: list[float]) -> str:
    low, high = tables.number(min(values), 3), tables.number(max(values), 3)
    return low if low == high else f"{low} to {high}"


def _fitted(folder: Path, title: str, *, at: Path) -> str:
    fits = entries(folder)
    rows = [
        {
            "series": fit["series"],
            "law": fit["law"],
            "points": fit["points"],
            **{name: _interval(value) for name, value in fit["coefficients"].items()},
            "verdict": fit["verdict"],
            "bound": fit["bound"] or "",
            "best by AICc": _rivals(fit["rivals"]),
        }
        for fit in fits
    ]
    last = ("verdict", "bound", "best by AICc")
    columns = [*dict.fromkeys(key for row in rows for key in row if key not in last), *last]
    where = (folder / "fits.md").relative_to(at).as_posix()
    lines = [f"## {title}\n", tables.to_markdown(rows, columns)]
    lines.append(
        "Intervals are 95 %, from likelihood profiles. All rivals with their held-out errors, profiles and warm-up "
        f"points: [{where}]({where}).\n"
    )
    pictures = sorted(folder.glob("**/all*.png"))[:1] or sorted(folder.glob("**/*.png"))
    lines += [_picture(path, title, at=at) for path in pictures]
    return "\n".join(lines)


def _rivals(rivals: dict[str, Any] | None) -> str:
    """The law with the lowest AICc, and those too near it to be told apart."""
    if not rivals:
        return ""
    ties = [name for name in rivals["aicc_ties"] if name != rivals["best_by_aicc"]]
    return str(rivals["best_by_aicc"]) + (f" (tie: {', '.join(ties)})" if ties else "")


def _interval(coefficient: dict[str, float | None]) -> str:
    """A value with its interval; none where the best curve is the law's limit for an endless coefficient."""
    ends = coefficient["low"], coefficient["high"]
    return tables.interval(coefficient["value"], *ends, unknown=f"beyond all bounds {tables.bounds(*ends)}")


def _density(folder: Path, *, at: Path) -> str:
    density = read_object(folder / "density.json", fix="Run the same command again")
    lines = ["## Capacity density of open base models\n", _trend(density["trend"])]
    lines += [
        _picture(path, "Density by release date", at=at) for path in sorted(folder.glob("*density*.png"))[:1]
    ]
    lines.append(f"All models, the trend and its checks: [{folder.name}]({folder.name}/).\n")
    return "\n".join(lines)


def _trend(trend: dict[str, Any] | None) -> str:
    if trend is None:
        return "Too few models set a new maximum for a trend.\n"
    low, high = trend["doubling_days_low"], trend["doubling_days_high"]
    ends = " to ".join("open" if end is None else tables.number(end, 3) for end in (low, high))
    days, uncorrected = (
        "not at all" if trend[key] is None else f"every {tables.number(trend[key], 3)} days"
        for key in ("doubling_days_corrected", "doubling_days")
    )
    published = " to ".join(tables.number(found["doubling_days"], 3) for found in trend["published"])
    return (
        f"{len(trend['frontier'])} of {trend['models']} models set a new maximum of density when released. Along them "
        f"density doubles {days} (95 %: {ends}), corrected for the bias of records; by least squares over the records, "
        f"uncorrected, {uncorrected}; R² {tables.number(trend['r2'], 3)}; published: {published} days. "
        "Other rulers, tasks and models move this: `sparsity-lab density` tabulates by how much.\n"
    )


def _picture(path: Path, caption: str, *, at: Path) -> str:
    return f"![{caption}]({path.relative_to(at).as_posix()})\n"
