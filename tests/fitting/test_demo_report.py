"""The demo's page: built from what the real steps write, on a small table."""

import pytest

from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.report import run_density
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.plots.measured import draw_table
from sparsity_lab.fitting.reproduce.demo_report import write_report
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.store.tables import to_csv

TOKENS = [400_000, 600_000, 900_000, 1_300_000, 1_900_000, 2_800_000, 4_000_000]
RATIOS = {
    ("relu", "series"): [0.141, 0.139, 0.135, 0.134, 0.133, 0.131, 0.130],
    ("relu", "ppl-increase"): [0.110, 0.106, 0.120, 0.122, 0.130, 0.125, 0.136],
    ("silu", "series"): [0.430, 0.450, 0.470, 0.483, 0.500, 0.520, 0.533],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    rows = [
        {
            "series": name, "model": f"runs/{name}/step-{n}", "activation_function": name, "criterion": "cett",
            "rule": rule, "knob": 0.09, "ppl_increase_target": 0.01, "activation_ratio": ratio,
            "activation_ratio_se": 0.001, "trained_tokens": n, "tokens": 16_384, "params_total": 221_760,
        }
        for (name, rule), ratios in RATIOS.items()
        for n, ratio in zip(TOKENS, ratios, strict=True)
    ]  # fmt: skip
    measured = out / "measure" / "rules"
    measured.mkdir(parents=True)
    (measured / "table.csv").write_text(to_csv(rows, list(rows[0])))
    (measured / "table.md").write_text("| the table |\n")
    draw_table(measured / "table.csv", output=measured)
    spec = FitSpec(draws=20)
    fit_table(measured / "table.csv", output=out / "fit" / "rules", spec=spec)
    fit_table(measured / "table.csv", output=out / "fit-sparsing-law", spec=spec)
    run_density(output=out / "density", options=DensityOptions(sensitivity=False))
    return out


@pytest.mark.slow
def test_the_page_holds_directions_verdicts_trend_and_only_pictures_that_exist(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    lines = text.splitlines()
    assert any("relu" in x and "one CETT for the series" in x and "falls" in x for x in lines)
    assert any("relu" in x and "own CETT" in x and "rises" in x for x in lines)
    assert any("silu" in x and "rises" in x for x in lines)
    assert "density doubles every" in text
    assert "identified" in text
    assert "(fit/rules/fits.md)" in text
    pictures = [line.split("](")[1].rstrip(")") for line in lines if line.startswith("![")]
    assert len(pictures) >= 4
    assert all((folder / picture).is_file() for picture in pictures)
