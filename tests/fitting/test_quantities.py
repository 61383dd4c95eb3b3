"""Runs measured by two rules are two quantities: they never meet in one regression, and a lock keeps its rivals."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.fit_table import fit_all, fit_table
from sparsity_lab.fitting.locks import check, lock_file
from sparsity_lab.fitting.report import files
from sparsity_lab.fitting.reproduce import families_report
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.progress import SILENT
from sparsity_lab.store.tables import to_csv

pytestmark = pytest.mark.usefixtures("unrendered")

TOKENS = np.geomspace(1e6, 4e7, 9)
SIZES = {"small": 1e5, "middle": 3e5, "large": 1e6}


@pytest.fixture(scope="module")
def two_rules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    rows = [
        {
            "series": f"{name}-{activation}", "activation_function": activation, "criterion": "cett", "rule": rule,
            "knob": knob + i, "ppl_increase_target": 0.01, "trained_tokens": tokens, "params_nonembedding": size,
            "activation_ratio": limit + 0.1 * (tokens / 1e6) ** -0.7 + 1e-5 * ((i * 7) % 3),
        }
        for rule, knob, limit in (("series", 0.1, 0.2), ("ppl-increase", 0.2, 0.5))
        for activation in ("silu", "gelu")
        for name, size in SIZES.items()
        for i, tokens in enumerate(TOKENS)
    ]  # fmt: skip
    rows = [{**row, "knob": 0.1} if row["rule"] == "series" else row for row in rows]
    (folder / "table.csv").write_text(to_csv(rows, list(rows[0])))
    spec = FitSpec(law="power", rivals=("constant",), draws=0)
    results = fit_all(read_series(folder / "table.csv"), spec)
    families_report.write(results, folder / "fit")
    return folder / "fit", results


@pytest.mark.long
def test_each_rule_has_a_family_of_its_own(two_rules):
    folder, _ = two_rules
    found = json.loads((folder / "families.json").read_text())["quantities"]
    assert [entry["quantity"][1] for entry in found] == ["series", "ppl-increase"]
    for entry, limit in zip(found, (0.2, 0.5), strict=True):
        assert len(entry["limits"]) == 6
        assert all(one["value"] == pytest.approx(limit, abs=0.01) for one in entry["limits"])
        assert all(
            abs(pair["difference"]) < 0.02 for pair in entry["activations"]
        )  # never one rule less another
        (scale, _) = entry["against_scale"]
        assert scale["runs"] == 3
    text = (folder / "families.md").read_text()
    assert "together: series" in text
    assert "together: ppl-increase" in text


@pytest.mark.long
def test_limits_are_drawn_with_the_other_figures_and_removed_with_them(two_rules, tmp_path):
    _, results = two_rules

    def without_sheets(calls):
        return ((place, calls[place]()) for place in range(len(results), len(calls)))

    files.draw(results, tmp_path, without_sheets, progress=SILENT)
    names = {path.name for path in (tmp_path / "plots").glob("*.png")}
    assert names == {"all.png", "limits-series.png", "limits-ppl-increase.png"}
    files.draw(results, tmp_path, None, progress=SILENT)
    assert not any((tmp_path / "plots").iterdir())


def test_a_lock_remembers_the_rivals_its_verdict_was_reached_against(tmp_path):
    r = np.array([2.0, 4.0, 8.0, 16.0, 24.0, 40.0, 60.0, 90.0, 128.0])
    y = 0.1 + 0.004 * np.minimum(r, 20.0) + 1e-4 * np.sin(5 * r)
    rows = [{"rule": "own", "ratio": a, "value": b} for a, b in zip(r, y, strict=True)]
    (tmp_path / "shapes.csv").write_text(to_csv(rows, list(rows[0])))
    spec = FitSpec(law="width-depth", rivals=("width-depth", "linear", "constant"), draws=0)
    columns = Columns(("ratio",), "value", "rule")
    (result,) = fit_table(
        tmp_path / "shapes.csv", output=tmp_path / "fit", spec=spec, mapping=columns, lock="a test"
    )
    assert result.comparison.best_by_aicc == "width-depth"
    (path,) = (tmp_path / "fit" / "locks").glob("*.toml")
    lock = lock_file.read(path)
    assert lock.spec.rivals == ("width-depth", "linear", "constant")
    assert check.check_one(path).status == check.PASS
    usual = replace(lock.spec, law="power", rivals=lock_file.UNNAMED_RIVALS)
    assert "rivals" not in lock_file.to_toml(replace(lock, law="power", spec=usual))
