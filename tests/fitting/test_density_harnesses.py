"""Scores stay with the harness that made them; the bundled ones are complete, sourced and dated."""

import csv
import socket
from collections import Counter
from datetime import date

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.paragraph import paragraph
from sparsity_lab.fitting.density.scores.bridges import bridged, bridges
from sparsity_lab.fitting.density.scores.targets import bundled_targets, harness_of, read_targets
from sparsity_lab.fitting.density.trend.sensitivity import HARNESS
from sparsity_lab.store import bundled

pytestmark = pytest.mark.usefixtures("unrendered")

MODELS = {row["model"]: row for row in bundled.rows("density-models")}
SCORES = bundled.rows("density-scores")
HARNESSES = {row["harness"]: row for row in bundled.rows("density-harnesses")}
SCORES_PATH = bundled.path("density-scores")
LONG = "model,task,score,harness,shots,flags\n"
SIZED = "model,params_b,task,score,harness,shots\n"


def write(tmp_path, text, name="scores.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_score_has_a_source_a_harness_and_a_model():
    for row in SCORES:
        assert all(row[column] for column in ("source", "harness", "task")), row
        assert row["url"] or "transcription" in row["flags"], row
        assert row["model"] in MODELS
        assert 0 <= float(row["score"]) <= 100
    assert {row["harness"] for row in SCORES} == set(HARNESSES)
    assert all(row["evaluator"] for row in HARNESSES.values())


def test_no_model_is_twice_under_a_harness_and_a_task_has_one_number_of_shots():
    cells = Counter((row["harness"], row["model"], row["task"]) for row in SCORES)
    assert max(cells.values()) == 1
    shots = {(row["harness"], row["task"], row["shots"]) for row in SCORES if row["shots"]}
    assert max(Counter((harness, task) for harness, task, _ in shots).values()) == 1
    assert len({name.casefold() for name in MODELS}) == len(MODELS) == len(bundled.rows("density-models"))


def test_what_is_known_of_a_model_says_where_from():
    sources = {
        "release_date": "date_source", "params_b": "params_source", "train_tokens_t": "tokens_source",
    }  # fmt: skip
    for row in MODELS.values():
        for column, source in sources.items():
            assert not row[column] or row[source], (row["model"], column)
        assert row["distilled"] in {"yes", "no", "unknown"}
        assert (row["distilled"] == "unknown") == (not row["distilled_source"])
        assert row["moe"] in {"true", "false"}
        assert row["family"]
        assert row["kind"] in {"base", "continued", "variant", "tuned scores", "unreleased"}
        assert row["kind"] != "unreleased" or not row["release_date"]
        assert row["date_precision"] == {10: "day", 7: "month", 0: ""}[len(row["release_date"])]
    of_source = {row["model"] for row in SCORES if "transcription" in row["flags"].split(";")}
    assert of_source


def test_at_least_120_dated_base_models_to_2026():
    dated = [row for row in MODELS.values() if row["kind"] == "base" and row["release_date"]]
    days = [date.fromisoformat(f"{row['release_date']}-15"[:10]) for row in dated]
    assert len(dated) >= 120
    assert sum(row["date_precision"] == "day" for row in dated) >= 120
    assert date(2019, 1, 1) < min(days)
    assert date(2026, 1, 1) <= max(days) < date(2026, 12, 31)
    assert sum(day >= date(2024, 10, 1) for day in days) >= 60


def test_the_models_of_2023_have_the_papers_scores():
    llama = {t.model: t.scores for t in bundled_targets() if t.family == "Llama-1"}
    published = {
        "Llama-1-7B": (2.9, 10.5, 17.7), "Llama-1-13B": (3.9, 15.8, 22.0),
        "Llama-1-33B": (7.1, 21.7, 30.2), "Llama-1-65B": (10.6, 23.7, 37.7),
    }  # fmt: skip
    for model, scores in published.items():
        read = [100 * llama[model][task].value for task in ("MATH", "HumanEval", "MBPP")]
        assert read == pytest.approx(scores)


def test_the_default_table_pools_the_harnesses_that_say_so_alone():
    pooled = {name for name, row in HARNESSES.items() if row["pooled"] == "true"}
    assert all(row["harness"] in pooled | {"llama-report"} for row in SCORES if row["preferred"] == "true")
    llama = next(t for t in bundled_targets() if t.model == "Llama-3.1-8B")
    others = {float(r["score"]) / 100 for r in SCORES
              if r["model"] == "Llama-3.1-8B" and r["task"] == "MMLU" and r["harness"] not in pooled}  # fmt: skip
    assert len(others) >= 4
    assert len(llama.scores["MMLU"].published) < len(others)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.parametrize("ruler", ["Qwen2.5", "Qwen3", "Gemma-3"])
@pytest.mark.long
def test_a_harness_is_measured_by_its_own_family(ruler, no_network):
    options = DensityOptions(
        harness=("qwen3-report",), ruler=ruler, sensitivity=False, extrapolated=True, references=True
    )
    report = measure_density(options=options)
    of_harness = {
        (r["model"], r["task"]): float(r["score"]) for r in SCORES if r["harness"] == "qwen3-report"
    }
    assert report.ruler.harness == "qwen3-report"
    assert len(report.densities) == len({model for model, _ in of_harness})
    for point in report.ruler.points:
        for task, score in point.scores.items():
            assert 100 * score == pytest.approx(of_harness[point.model, task])
    assert not any("harnesses are mixed" in note for note in report.notes)
    assert report.trend is not None
    assert report.trend.frontier[-1].startswith("Qwen3")


@pytest.mark.long
def test_newer_models_are_denser_than_those_before_them_under_one_harness():
    report = measure_density(
        options=DensityOptions(harness=("qwen3-report",), ruler="Qwen2.5", sensitivity=False)
    )
    rho = {density.target.model: density.rho for density in report.densities}
    assert rho["Llama-3-8B"] < rho["Qwen2.5-7B"] < rho["Qwen3-8B"]
    flags = {density.target.model: density.flags for density in report.densities}
    assert "distilled" in flags["Gemma-3-4B"]
    assert "distilled" not in flags["Llama-3-8B"]


@pytest.mark.long
def test_a_family_without_all_tasks_is_chosen_by_those_it_has():
    report = measure_density(options=DensityOptions(harness=("olmobaseeval",), sensitivity=False))
    assert report.ruler.name == "Falcon-H1"
    assert {"MATH", "MBPP"} <= set(report.tasks)
    assert "GSM8K" not in report.tasks
    assert any("format-failure" in note for note in report.notes)
    with pytest.raises(SparsityLabError, match="four sizes"):
        measure_density(
            options=DensityOptions(
                harness=("olmobaseeval",), tasks=("HumanEval", "MMLU", "GSM8K"), sensitivity=False
            )
        )


def test_several_harnesses_are_refused_and_an_unknown_one_is_named():
    with pytest.raises(SparsityLabError, match="qwen3-report 23"):
        measure_density(options=DensityOptions(targets="density-scores"))
    with pytest.raises(SparsityLabError, match="Did you mean 'qwen3-report'"):
        measure_density(options=DensityOptions(harness=("qwen3-reports",)))
    with pytest.raises(SparsityLabError, match="no column harness"):
        read_targets(bundled.path("obsscaling-models"), harness="x")


def test_a_ruler_of_another_harness_is_told(tmp_path):
    shipped = measure_density(
        options=DensityOptions(
            harness=("granite-3.0",), ruler="obs-llama", tasks=("MMLU",), sensitivity=False
        )
    )
    assert any("harnesses are mixed" in note for note in shipped.notes)
    assert any("several harnesses" in note for note in measure_density(
        options=DensityOptions(sensitivity=False)).notes)  # fmt: skip


def test_bridges_give_back_the_planted_offset(tmp_path):
    rng = np.random.default_rng(3)
    score = rng.uniform(30, 60, 12)
    rows = [f"m{i},7,MMLU,{s:.3f},a,5\n" for i, s in enumerate(score[:8])]
    rows += [f"m{i},7,MMLU,{s - 10:.3f},b,0\n" for i, s in enumerate(score)]
    rows += ["low,7,MMLU,5,b,0\n"]
    path = write(tmp_path, SIZED + "".join(rows))
    first, second = (read_targets(path, harness=name) for name in "ab")
    bridge = bridges(first, second)["MMLU"]
    assert (bridge.offset, bridge.sd, len(bridge.models)) == (
        pytest.approx(0.1),
        pytest.approx(0, abs=1e-4),
        8,
    )
    notes = Notes()
    moved = {t.model: t for t in bridged([first, second], notes)}
    assert "low" not in moved
    assert harness_of(list(moved.values())) == "a"
    inside = [i for i in range(8, 12) if score[:8].min() <= score[i] <= score[:8].max()]
    for i in inside:
        assert moved[f"m{i}"].scores["MMLU"].value == pytest.approx(score[i] / 100, abs=1e-4)
        assert moved[f"m{i}"].note
    assert moved["m0"].note == ""
    assert any("8 models" in note for note in notes)


def test_a_moved_score_has_the_error_of_its_bridges(tmp_path):
    gaps = np.array([4.0, 6.0, 8.0, 10.0])
    rows = [f"m{i},7,MMLU,{40 + i + gap},a,5\nm{i},7,MMLU,{40 + i},b,0\n" for i, gap in enumerate(gaps)]
    path = write(tmp_path, SIZED + "".join([*rows, "new,7,MMLU,41.5,b,0\n"]))
    first, second = (read_targets(path, harness=name) for name in "ab")
    new = bridged([first, second], Notes())[-1].scores["MMLU"]
    assert new.value == pytest.approx(0.485)
    sampling = 0.415 * 0.585 / 14042
    assert new.se == pytest.approx(np.sqrt((gaps / 100).var(ddof=1) * 1.25 + sampling), rel=1e-3)


def test_harnesses_without_bridges_are_not_tied():
    with pytest.raises(SparsityLabError, match="no task"):
        measure_density(options=DensityOptions(harness=("hunyuan-dense", "kanana"), sensitivity=False))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,7,MMLU,50,h,5\na,7,MMLU,51,h,5\n", ["row 3, column score", "row 2"]),
        ("a,7,MMLU,50,h,5\nb,7,MMLU,51,h,0\n", ["row 3, column shots", "row 2"]),
        ("a,7,MMLU,150,h,5\nb,7,MMLU,51,h,5\n", ["row 2, column score"]),
        ("a,7,MMLU,x,h,5\n", ["row 2, column score"]),
        ("a,7,MMLU,50,h,5\nb,7,MMLU,51,g,0\n", ["2 harnesses", "h 1", "g 1"]),
    ],
)
def test_tables_of_scores_that_cannot_be_right(tmp_path, rows, words):
    with pytest.raises(SparsityLabError) as caught:
        read_targets(write(tmp_path, SIZED + rows))
    assert all(word in str(caught.value) for word in words)


def test_models_of_a_table_of_scores(tmp_path):
    path = write(
        tmp_path, LONG + "Qwen3-8B,MMLU,76,h,5,\nQwen3-8B,MATH,1,h,4,format-failure\nmine,MMLU,50,h,5,\n"
    )
    with pytest.raises(SparsityLabError, match="no model 'mine'"):
        read_targets(path)
    about = write(
        tmp_path, "model,params_b,release_date\nmine,3,2025-02\nQwen3-8B,8.2,2025-04-29\n", "models.csv"
    )
    qwen, mine = read_targets(path, models=about)
    assert (round(qwen.params), set(qwen.scores), mine.released) == (8.2e9, {"MMLU"}, date(2025, 2, 15))
    report = measure_density(
        options=DensityOptions(
            targets=path, models=about, ruler="obs-llama", tasks=("MMLU",), sensitivity=False
        )
    )
    assert {density.target.model for density in report.densities} == {"Qwen3-8B", "mine"}


def test_a_wide_table_may_say_its_harness(tmp_path):
    table = "model,params_b,family,harness,MMLU\n" + "".join(
        f"m-{size}B,{size},m,h,{30 + 8 * i}\n" for i, size in enumerate((1, 2, 4, 8))
    )
    report = measure_density(
        options=DensityOptions(targets=write(tmp_path, table + "x,3,x,h,50\n"), ruler="m", sensitivity=False)
    )
    assert report.ruler.harness == "h"
    assert report.ruler.sizes == (1e9, 8e9)
    with pytest.raises(SparsityLabError, match="2 harnesses"):
        read_targets(write(tmp_path, table + "x,3,x,g,50\n"))


def test_the_files_are_plain_csv():
    for name in ("density-models", "density-scores", "density-harnesses"):
        with bundled.path(name).open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize("ruler", ["Qwen2.5", "Qwen3", "Gemma-3", "Falcon3"])
@pytest.mark.long
def test_one_harness_over_many_models_gives_a_growth(ruler):
    tasks = ("MMLU", "MATH", "GSM8K", "HumanEval")
    report = measure_density(
        options=DensityOptions(
            harness=("swallow",),
            ruler=ruler,
            tasks=tasks,
            sensitivity=False,
            extrapolated=True,
            references=True,
        )
    )
    assert len(report.densities) >= 50
    assert report.trend is not None
    assert report.trend.models >= 40
    assert len(report.trend.frontier) >= 3
    low, high = report.trend.interval
    assert low < report.trend.corrected < high
    assert low > 0 or ruler in ("Gemma-3", "Falcon3"), "rulers that do not tell growth from none"


@pytest.mark.long
def test_two_bundled_harnesses_are_tied_and_the_bridges_are_told():
    tasks = ("MMLU-Pro", "BBH", "GSM8K", "MATH", "MBPP")
    options = DensityOptions(
        harness=("qwen3-report", "olmobaseeval"), ruler="Qwen2.5", tasks=tasks, sensitivity=False
    )
    report = measure_density(options=options)
    moved = [density for density in report.densities if "bridges" in density.target.note]
    assert len(report.densities) - len(moved) == 23
    assert len(moved) >= 15
    assert not {density.target.model for density in moved} & set(report.ruler.references)
    assert all("see note" in density.flags for density in moved)
    assert any(all(word in note for word in ("tied", "olmobaseeval", *tasks)) for note in report.notes)


@pytest.mark.long
def test_growth_by_each_harness_is_that_of_a_run_on_it():
    report = measure_density(options=DensityOptions(hindcast=False))
    chosen, *others = report.sensitivity
    assert (
        chosen["A_corrected"] == report.trend.corrected
    )  # the first row is the headline, not a second estimate
    rows = {str(row["value"]): row for row in others if row["choice"] == HARNESS}
    assert {value.split(" by ")[0] for value in rows} >= {
        "swallow",
        "qwen2.5-blog",
        "qwen-report",
        "qwen3-report",
    }
    tasks = ("MMLU", "BBH", "MATH", "HumanEval")
    alone = measure_density(
        options=DensityOptions(
            harness=("swallow",), ruler="Qwen2.5", tasks=tasks, sensitivity=False, hindcast=False
        )
    )
    row = rows["swallow by Qwen2.5 without MBPP"]
    assert row["models"] == alone.trend.models
    assert row["A_per_day"] == pytest.approx(alone.trend.slope, rel=1e-9)
    days = [row["doubling_days_corrected"] for row in rows.values() if row.get("doubling_days_corrected")]
    assert f"{min(days):.0f} to {max(days):.0f} days over {len(days)} " in paragraph(report)


def test_a_run_on_one_harness_has_the_others_as_rows(tmp_path):
    path = tmp_path / "t.csv"
    head, dates = (
        "model,family,params_b,release_date,MMLU,harness\n",
        ("2023-02-01", "2023-09-01", "2024-05-01"),
    )
    ladder = [f"r{n},Ref,{n},2023-01-01,{0.3 + 0.1 * i}" for i, n in enumerate((1, 3, 9, 27, 81))]
    models = [f"m{i},F{i},10,{day},{0.45 + 0.07 * i:.2f}" for i, day in enumerate(dates)]
    path.write_text(
        head + "".join(f"{row},{harness}\n" for harness in ("x", "y") for row in (*ladder, *models))
    )
    options = DensityOptions(targets=str(path), harness=("x",), ruler="Ref", hindcast=False)
    rows = {row["value"]: row for row in measure_density(options=options).sensitivity}
    assert rows["y by Ref"]["A_per_day"] == pytest.approx(rows["Ref"]["A_per_day"])
    path.write_text(path.read_text().replace("m2,F2,10,2024-05-01,0.59,y", "m2,F2,10,2024-05-01,zero,y"))
    rows = {row["value"]: row for row in measure_density(options=options).sensitivity}
    assert rows["y"]["note"]  # another harness that cannot be read is said in its row, and stops nothing


@pytest.mark.long
def test_notes_are_said_once_however_many_harnesses_are_read(caplog):
    caplog.set_level("INFO", logger="sparsity_lab")
    report = measure_density(options=DensityOptions(hindcast=False))
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("note: ")]
    assert said == [f"note: {text}" for text in report.notes]
