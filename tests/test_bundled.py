"""Tables by name: those of users, and those carried in the package."""

import pytest

from sparsity_lab.errors import SparsityLabError, UnknownNameError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.predictions import PredictedRuns, run_predictions
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.store import bundled
from tests import command


def test_a_file_comes_before_a_bundled_table_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bundled.table("sparsing-law") == bundled.path("sparsing-law")
    (tmp_path / "sparsing-law").write_text("tokens,activation_ratio\n")
    assert bundled.table("sparsing-law").read_text() == "tokens,activation_ratio\n"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (lambda output: measure_density(options=DensityOptions(targets="density-scroes")), "density-scores"),
        (lambda output: run_predictions(output=output, runs=PredictedRuns("olmo-laddr")), "olmo-ladder"),
        (lambda output: fit_table("sparsing-lwa", output=output), "sparsing-law"),
        (lambda output: bundled.table("nowhere/else.csv"), None),
    ],
)
def test_an_unknown_table_names_those_there_are(asked, meant, tmp_path):
    with pytest.raises(UnknownNameError) as failed:
        asked(tmp_path / "out")
    assert failed.value.nearest == meant
    assert all(name in failed.value.fix for name in bundled.names())
    assert "Errno" not in failed.value.paragraph()


def test_a_misspelt_file_names_the_one_next_to_it(tmp_path):
    (tmp_path / "models.csv").write_text("tokens,activation_ratio\n")
    with pytest.raises(UnknownNameError) as failed:
        bundled.table(tmp_path / "modles.csv")
    assert failed.value.nearest == str(tmp_path / "models.csv")


@pytest.mark.parametrize(
    "words",
    [
        ("density", "--targets", "density-scroes"),
        ("density", "ruler", "density-scroes", "--name", "mine"),
        ("density", "pairs", "--pairs", "density-scroes"),
        ("fit", "density-scroes"),
    ],
)
@pytest.mark.long
def test_the_command_line_names_them_too(words, tmp_path):
    done = command.run(*words, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "density-scores" in done.stderr
    assert "Errno" not in done.stderr


def test_a_file_that_is_not_there_is_told_without_its_number(tmp_path):
    with pytest.raises(SparsityLabError) as failed:
        read_csv(tmp_path / "none.csv")
    assert failed.value.why
    assert "Errno" not in failed.value.paragraph()
