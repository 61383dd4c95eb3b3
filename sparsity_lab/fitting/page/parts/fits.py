"""The part of a report about fits: all in one table, then each with its honesty sheet.

The sheet says everything that must be known of a fit one may trust: form and units, points used and dropped and why,
how coefficients move with dropped points, decades covered, objective and starts, parameters at a bound,
condition number, residual correlation, both kinds of interval, rivals, extrapolation, hash, command, versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.data.names import figure_name
from sparsity_lab.fitting.page.blocks import Block, Facts, Figure, Fold, Heading, Prose, Section, table
from sparsity_lab.fitting.page.cells import shown, whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.reading.toml_file import toml_or_none
from sparsity_lab.store.tables import bounds, interval

Entry = Mapping[str, Any]


def section(contents: Contents) -> Section | None:
    """All fits; None where there are none."""
    sets = [(path, value) for path, value in contents.named("fits.json") if isinstance(value, list) and value]
    if not sets:
        return None
    blocks: list[Block] = [_summary(contents, sets)]
    for path, entries in sets:
        place = contents.place(path.parent)
        blocks.append(Heading(f"Fits of {place}"))
        blocks += [Figure(figure, f"All series of {place}") for figure in _of(contents, path.parent, "all")]
        blocks += [
            Figure(figure, f"Limits against parameters, {place}")
            for figure in _of(contents, path.parent, "limits")
        ]
        blocks += [_sheet(contents, path.parent, entry) for entry in entries if isinstance(entry, dict)]
    return Section("Fits", tuple(blocks))


def entries(contents: Contents) -> list[Entry]:
    """Every fit under the folder."""
    lists = [value for _, value in contents.named("fits.json") if isinstance(value, list)]
    return [entry for value in lists for entry in value if isinstance(entry, dict)]


def _name(entry: Entry) -> str:
    return str(entry.get("series") or entry.get("law"))


def _of(contents: Contents, folder: Path, stem: str) -> list[Path]:
    return [
        figure
        for figure in contents.figures
        if figure.parent == folder / "plots" and _is_named(figure.stem, stem)
    ]


def _is_named(stem: str, wanted: str) -> bool:
    """Figures of limits have the quantity's name behind theirs, where there are several."""
    return stem == wanted or (wanted == "limits" and stem.startswith("limits-"))


def _summary(contents: Contents, sets: Sequence[tuple[Path, list[Entry]]]) -> Block:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for path, found_entries in sets:
        for entry in found_entries:
            row = {
                "table": contents.place(path.parent), "series": _name(entry), "law": entry.get("law"),
                "verdict": entry.get("verdict"), "points": entry.get("points"),
                "dropped": entry.get("dropped_points", entry.get("left_out")),
            }  # fmt: skip
            for name, coefficient in (entry.get("coefficients") or {}).items():
                names[name] = None
                row[name] = interval(
                    coefficient.get("value"), coefficient.get("low"), coefficient.get("high")
                )
            rows.append({**row, "bound": entry.get("bound")})
    columns = ["table", "series", "law", "verdict", "points", "dropped", *names, "bound"]
    note = (
        "Coefficients with 95 % intervals; an open side is not bounded by the data. Where a fit is not identified the "
        "bound is all the data say."
    )
    return table("All fits", rows, columns, note=note)


def _sheet(contents: Contents, folder: Path, entry: Entry) -> Fold:
    """One fit behind its name, with its verdict."""
    bound = f" All the data say: {entry['bound']}." if entry.get("bound") else ""
    lock = _lock(folder, entry)
    blocks: list[Block] = [Prose((f"**{entry.get('verdict')}**: {entry.get('reason')}.{bound}",))]
    blocks += [Figure(figure, f"{_name(entry)}: curve, residuals, profile, dropped points, extrapolation")
               for figure in _of(contents, folder, figure_name(_name(entry)))]  # fmt: skip
    facts = Facts(tuple(_checks(entry) + _origin(contents, folder)))
    if entry.get("coefficients"):
        blocks += [facts, _coefficients(entry), *_rivals(entry), *_drops(entry), *_reach(entry), *lock]
    else:  # the law cannot describe the points, so that its rivals are what there is to read
        blocks += [*_rivals(entry), facts, *lock]
    title = f"{_name(entry)}: {entry.get('formula')}"
    return Fold(title, tuple(blocks), badge=str(entry.get("verdict")))


def _checks(entry: Entry) -> list[tuple[str, str]]:
    """The checklist, one line a question; what an entry does not hold is left out."""
    x, y = entry.get("x") or {}, entry.get("y") or {}
    unit = "; ".join(f"{v.get('symbol')}: {v.get('meaning')} in {v.get('unit')}"
                     for v in [x, y, *(entry.get("inputs") or [])] if v)  # fmt: skip
    read = "; ".join(f"{column} in {unit_read}" for column, unit_read in (entry.get("units") or {}).items())
    points = f"{entry.get('points')} used, {entry.get('dropped_points', entry.get('left_out'))} left out"
    rule = f" ({entry['drop_rule']})" if entry.get("drop_rule") else ""
    starts = f"{entry.get('starts_at_best')} of {entry.get('starts')} reached the best within 1 %"
    objective = entry.get("objective_name") or entry.get("objective")
    value = entry["sse"] if "sse" in entry else entry.get("objective")
    lines = [
        ("Law", f"{entry.get('formula')} ({entry.get('law')})"), ("Why this law", entry.get("law_rule")),
        ("Units", unit), ("Read", read or None), ("Points", points + rule),
        ("Decades of x", entry.get("decades")), ("Runs", entry.get("runs")),
        ("Objective", f"{objective} = {whole(value, 4)}"),
        ("Mean absolute residual", entry.get("mae")), ("Root mean square error", entry.get("rmse")),
        ("Starts", starts), ("At the edge of the search", entry.get("at_edge")),
        ("Scaled condition number", entry.get("condition")),
        ("Lag-1 correlation of residuals", entry.get("lag1")),
        ("Intervals widened by", entry.get("variance_inflation")), ("AICc", entry.get("aicc")),
        ("Bootstrap", _draws(entry)), ("Limit by the law", entry.get("limit")),
        ("Ranges of the data from the last point to the limit", entry.get("extrapolation_ratio")),
        ("Seed", entry.get("seed")), ("Data sha256", entry.get("data_sha256") or entry.get("sha256")),
    ]  # fmt: skip
    return _said(lines)


def _said(lines: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    """What is known, for readers; hashes whole, so that they can be compared."""
    filled = [(name, value) for name, value in lines if value is not None]
    return [(name, str(value) if name.endswith("sha256") else shown(value)) for name, value in filled]


def _draws(entry: Entry) -> str:
    boot = entry.get("bootstrap") or {"draws": entry.get("draws")}
    if not boot.get("draws"):
        return "none"
    kind = f"in blocks of {boot['block']}" if "block" in boot else "of whole runs"
    return f"{boot['draws']} draws {kind}"


def _origin(contents: Contents, folder: Path) -> list[tuple[str, str]]:
    """Command, code and versions of the fits of a folder."""
    provenance = contents.documents.get(folder / "provenance.json")
    if not isinstance(provenance, dict):
        return [("Provenance", "no provenance.json next to these fits")]
    names = {"command": "Command", "git": "Revision of the code", "versions": "Versions", "time": "Written",
             "table": "Table", "table_sha256": "Table sha256"}  # fmt: skip
    return _said([(heading, provenance.get(key)) for key, heading in names.items()])


def _coefficients(entry: Entry) -> Block:
    profiles = entry.get("profiles") or {}
    drawn = (entry.get("bootstrap") or {}).get("intervals") or {}
    texts = (entry.get("other_text") or {}).get("coefficients") or {}
    rows = []
    for name, coefficient in (entry.get("coefficients") or {}).items():
        profile, ends = profiles.get(name), drawn.get(name)
        rows.append({
            "coefficient": name, **{key: coefficient.get(key) for key in ("value", "low", "high")},
            "by": coefficient.get("method", "bootstrap over runs"),
            "profile": None if profile is None else _profile(profile),
            "bootstrap": None if ends is None else bounds(*ends),
            "text": bounds(texts[name].get("low"), texts[name].get("high")) if name in texts else None,
        })  # fmt: skip
    headings = {"coefficient": "coefficient", "value": "value", "low": "low", "high": "high", "by": "interval by",
                "profile": "profile interval", "bootstrap": "bootstrap interval",
                "text": "with other text of the corpus"}  # fmt: skip
    keys = {key for key in headings if any(row[key] is not None for row in rows)} | {"low", "high"}
    kept = {key: heading for key, heading in headings.items() if key in keys}
    return table("Coefficients", rows, kept, note="95 % intervals; an empty end is open.")


def _profile(profile: Mapping[str, Any]) -> str:
    return bounds(*(None if profile.get(f"open_{end}") else profile.get(end) for end in ("low", "high")))


def _rivals(entry: Entry) -> list[Block]:
    compared = entry.get("rivals")
    if not compared:
        return []
    ties, far = compared.get("aicc_ties") or [], compared.get("extrapolation_ties") or []
    note = f"By AICc {compared.get('best_by_aicc')} is best" + (
        f", a tie with {', '.join(ties)}" if ties else ""
    )
    if compared.get("best_by_extrapolation"):
        note += f"; by extrapolation {compared['best_by_extrapolation']}"
        note += f", a tie with {', '.join(far)}" if far else ""
    headings = {"law": "law", "aicc_gap": "AICc gap", "rolling_rmse": "rolling-origin RMSE",
                "held_out_rmse": "RMSE after the first 70 %", "sse": "sum of squares"}  # fmt: skip
    return [table("Rival laws", compared.get("rivals") or [], headings, note=note + ".")]


def _drops(entry: Entry) -> list[Block]:
    rows = [{**row, **row.get("coefficients", {})} for row in entry.get("drop_sensitivity") or []]
    if not rows:
        return []
    names = {"dropped": "dropped", "points": "points", **{name: name for name in entry.get("coefficients") or {}},
             "mean_square": "mean square"}  # fmt: skip
    return [table("Coefficients against leading points dropped", rows, names)]


def _reach(entry: Entry) -> list[Block]:
    unit = (entry.get("x") or {}).get("unit", "")
    rows = entry.get("reach") or []
    headings = {"y": "reaches", "x": f"at ({unit})", "low": "low", "high": "high"}
    note = "An empty end is not reached within the interval."
    return [table("Where the law gets to", rows, headings, note=note)] if rows else []


def _lock(folder: Path, entry: Entry) -> list[Block]:
    """The lock that guards this fit, where there is one."""
    for path in sorted((folder / "locks").glob("*.toml")):
        raw = toml_or_none(path)  # `check` is the command that judges those that cannot be read
        key = "series" if entry.get("series") else "law"  # a ladder of runs has one fit a law
        if raw is not None and raw.get(key) == entry.get(key):
            return [Facts(tuple(_locked(path, raw)))]
    return [Prose(("No lock guards this fit.",))]


def _locked(path: Path, raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    points = raw["input"] if isinstance(raw.get("input"), dict) else {}
    pairs = [("Lock", f"locks/{path.name}"), ("Locked because", raw.get("reason")),
             ("Verdict locked", raw.get("verdict")), ("Points pinned", points.get("pinned")),
             ("Tolerance of predictions", raw.get("prediction_tolerance")),
             ("Tolerance of coefficients", raw.get("coefficient_tolerance")),
             ("Locked points sha256", points.get("points_sha256"))]  # fmt: skip
    return _said(pairs)
