"""`sparsity-lab density` as a user runs it."""

import json

import pytest

from tests import command


def run(*words, code=0):
    done = command.run("density", *words)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    output = tmp_path_factory.mktemp("density")
    return run("--output", output), output


def test_without_arguments(default):
    done, output = default
    found = json.loads((output / "density.json").read_text())
    dated = [m for m in found["models"] if m["released"] and "mixture of experts" not in m["flags"]]
    assert len(dated) >= 45
    assert all(m["rho"] is None or (m["rho_low"] or 0) <= m["rho"] for m in dated)
    trend = found["trend"]
    assert trend["A_low"] < trend["A_corrected"] < trend["A_per_day"] < trend["A_high"]
    headline = trend["doubling_days_corrected"]
    assert trend["doubling_days_low"] < headline < trend["doubling_days_high"]
    assert headline == pytest.approx(95.7, abs=0.5)
    assert f"doubling every {headline:.0f} days" in done.stdout
    assert f"doubling every {trend['doubling_days']:.0f} days" in done.stdout
    flags = {m["model"]: m["flags"] for m in found["models"]}
    assert not any("extrapolated" in flags[name] or "reference" in flags[name] for name in trend["frontier"])
    assert "16 extrapolated (--extrapolated)" in found["trend_note"]
    with_all = next(row for row in found["sensitivity"] if row["value"] == "with both")
    assert with_all["frontier"] > len(trend["frontier"])
    assert "ruler: Qwen2.5 (one-step), because" in done.stderr
    spread = [row["doubling_days"] for row in found["sensitivity"] if row.get("doubling_days")]
    assert min(spread) < trend["doubling_days"] < max(spread)
    assert {"ruler", "tasks", "models", "parameters"} <= {row["choice"] for row in found["sensitivity"]}
    assert {"published"} == {row["choice"] for row in found["sensitivity"][-2:]}
    assert {"without distilled", "only distilled"} <= {row["value"] for row in found["sensitivity"]}
    tried = found["hindcast"]
    assert {row["forecast"] for row in tried["rows"]} == {"trend", "no growth since", "one break"}
    assert len((output / "hindcast.csv").read_text().splitlines()) == 1 + len(tried["rows"])
    assert found["hindcast_note"] == ""
    held = next(row for row in tried["scores"] if (row["forecast"], row["ahead"]) == ("trend", "1 to 4"))
    assert f"{held['held_95']} of {held['forecasts']} (" in done.stdout
    assert "2 of 5 tasks" in done.stdout
    names = ["table.csv", "table.md", "per_task.md", "sensitivity.csv", "hindcast.csv", "hindcast.md"]
    lines = (output / "by_size.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [row["family"] for row in found["by_size"]]
    slopes = sum(row["excludes_zero"] for row in found["by_size"])
    assert f"{slopes} of {len(lines)} families" in done.stdout
    names += [f"{stem}.{kind}" for stem in ("density_by_date", "density_per_task") for kind in ("png", "svg")]
    for name in names:
        assert (output / name).stat().st_size > 1000
    assert len((output / "table.csv").read_text().splitlines()) == 1 + len(found["models"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(default, tmp_path):
    _, output = default
    run("--output", tmp_path)
    for name in ("table.csv", "table.md", "density_by_date.svg", "density_by_date.png"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_bad_input_is_one_paragraph_and_writes_nothing(tmp_path):
    table = tmp_path / "models.csv"
    table.write_text("model,params_b,MMLU\na-7B,7e9,50\n")
    done = run("--targets", table, "--output", tmp_path / "out", code=2)
    assert "row 2, column params_b" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*"))
    assert "Did you mean 'Qwen2.5'" in run("--ruler", "Qwen25", "--output", tmp_path / "out", code=2).stderr
    assert "no task named 'MMLO'" in run("--tasks", "BBH,MMLO", "--output", tmp_path / "out", code=2).stderr
    table.write_text("model,params_b,hellaswag\na-7B,7,50\n")
    assert "olmo-ladder" in run("--targets", table, "--output", tmp_path / "out", code=2).stderr
    assert "3 sizes" in run("--ruler", "Gemma-2", "--output", tmp_path / "out", code=2).stderr


def test_a_users_table_against_the_bundled_ruler(tmp_path):
    table = tmp_path / "models.csv"
    table.write_text("model,params_b,release_date,MMLU,BBH\nmine-3B,3,2024-10-01,66,55\n")
    done = run("--targets", table, "--ruler", "Qwen2.5", "--output", tmp_path / "out")
    (mine,) = json.loads((tmp_path / "out" / "density.json").read_text())["models"]
    assert mine["rho_low"] < mine["rho"] < mine["rho_high"]
    assert done.stdout.count("no trend in") == 1
    assert not (tmp_path / "out" / "hindcast.csv").exists()


@pytest.mark.parametrize("targets", ["mine.csv", pytest.param("obsscaling-models", marks=pytest.mark.slow)])
def test_a_ruler_built_and_used(tmp_path, targets):
    run(
        "ruler",
        "obsscaling-models",
        "--family",
        "Qwen1.5",
        "--tasks",
        "MMLU,ARC-C",
        "--name",
        "mine",
        "-o",
        tmp_path,
    )
    ruler = json.loads((tmp_path / "mine.json").read_text())
    assert ruler["form"] == "one-step"
    assert set(ruler["tasks"]) == {"MMLU", "ARC-C", "MMLU + ARC-C"}
    assert len(ruler["points"]) == 8
    assert (tmp_path / "mine.png").stat().st_size > 1000
    words = ("--ruler", tmp_path / "mine.json", "--no-sensitivity", "-o", tmp_path / "used")
    (tmp_path / "mine.csv").write_text("model,params_b,MMLU,ARC-C\na-3B,3,66,55\nb-1B,1,40,35\n")
    run("--targets", tmp_path / targets if targets.endswith(".csv") else targets, *words)
    models = json.loads((tmp_path / "used" / "density.json").read_text())["models"]
    assert len(models) == {"mine.csv": 2, "obsscaling-models": 148}[targets]
    assert all(m["rho"] is None or m["rho"] < 100 for m in models)


@pytest.mark.long
def test_records_outside_the_ruler_and_its_own_models_can_be_let_in(tmp_path):
    done = run("--extrapolated", "--references", "--no-sensitivity", "-o", tmp_path)
    trend = json.loads((tmp_path / "density.json").read_text())["trend"]
    assert {"InternLM-7B", "Qwen2.5-7B"} <= set(trend["frontier"]), "of an extrapolated size, and a reference"
    assert "--extrapolated" not in done.stdout


def test_two_records_are_no_trend(tmp_path):
    table = tmp_path / "t.csv"
    rows = ["model,params_b,release_date,MMLU", "a-7B,7,2023-01-01,50", "b-7B,7,2023-06-01,60"]
    table.write_text("\n".join([*rows, "c-7B,7,2023-09-01,40", "d-7B,7,2023-10-01,45"]) + "\n")
    done = run("--targets", table, "--ruler", "Qwen2.5", "--no-sensitivity", "-o", tmp_path / "out")
    assert done.stdout.count("no trend in") == 1
    assert "2 of them set a new maximum" in done.stdout
    assert json.loads((tmp_path / "out" / "density.json").read_text())["trend"] is None


@pytest.mark.long
def test_no_giant_number_of_parameters_near_the_ceiling(tmp_path):
    run("needed", "--score", "0.795", "--dates", "2024-06-01", "-o", tmp_path)
    (row,) = json.loads((tmp_path / "needed.json").read_text())
    assert (row["params_b"], row["high_b"], row["flag"]) == (None, None, "beyond the ruler")
    assert 0 < row["low_b"] < 1000


def test_options_before_a_subcommand_reach_it(tmp_path):
    run("--tasks", "MMLU", "pairs", "-o", tmp_path)
    rows = json.loads((tmp_path / "pairs.json").read_text())
    assert {row["tasks"] for row in rows} == {"MMLU"}


def test_prices(tmp_path):
    prices = tmp_path / "prices.csv"
    rows = [f"m{i},2023-{i + 1:02d}-01,{20 / 2**i},0.7" for i in range(9)]
    prices.write_text("\n".join(["model,release_date,price,score", *rows]) + "\n")
    assert "halves every 30 days" in run("cost", prices, "--score", "0.6", "-o", tmp_path / "out").stdout
    prices.write_text("model,release_date,price,score\na,2023-01-01,0,0.7\n")
    assert (
        "row 2, column price" in run("cost", prices, "--score", "0.6", "-o", tmp_path / "out", code=2).stderr
    )


def test_a_break_where_none_can_be_tested(tmp_path):
    words = ("--ruler", "Qwen2.5", "--tasks", "MMLU", "--no-sensitivity", "-o", tmp_path)
    done = run("--break", "2022-11-30", *words, code=2)
    assert "0 frontier models lie before it" in done.stderr
    assert "is no date" in run("--break", "soon", "-o", tmp_path, code=2).stderr


def result(folder, *, model="lab/m-1B", args="", params=1e9, acc=0.5, norm=0.6, name="r"):
    scores = {"arc_easy": {"acc,none": acc, "acc_norm,none": norm}, "mmlu": {"acc,none": acc},
              "mmlu_anatomy": {"acc,none": acc}}  # fmt: skip
    document = {
        "results": scores, "model_name": model, "n-shot": dict.fromkeys(scores, 0),
        "config": {"model": "hf", "model_args": f"pretrained={model}{args}", "model_num_parameters": params},
    }  # fmt: skip
    path = folder / name / "results_2024-09-01T10-00-00.000001.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))


def test_results_of_lm_eval_from_the_command_line(tmp_path):
    folder, used = tmp_path / "r", tmp_path / "used"
    for number, args in enumerate(["", ",revision=step1000", ",peft=me/lora"]):
        result(folder, args=args, acc=0.4 + 0.1 * number, norm=0.5 + 0.1 * number, name=f"run{number}")
    done = run("--targets", folder, "--ruler", "olmo-ladder", "--no-sensitivity", "-o", used)
    rows = {m["model"]: m for m in json.loads((used / "density.json").read_text())["models"]}
    assert set(rows) == {"m-1B", "m-1B@step1000", "m-1B (peft=me/lora)"}
    assert rows["m-1B (peft=me/lora)"]["score"] == pytest.approx(
        (0.7 + 0.6) / 2
    )  # acc_norm as the ruler, and mmlu
    assert "metric of arc_easy: acc_norm,none, because it is the ruler's; scored with 0 shots" in done.stderr
    chosen = ("--metric", "arc_easy=acc", "--metric", "mmlu=acc", "--tasks", "ARC-Easy")
    run("--targets", folder, "--ruler", "olmo-ladder", *chosen, "--no-sensitivity", "-o", used)
    rows = {m["model"]: m for m in json.loads((used / "density.json").read_text())["models"]}
    assert rows["m-1B (peft=me/lora)"]["score"] == pytest.approx(0.6)


def test_a_ruler_of_one_family_from_results(tmp_path):
    folder = tmp_path / "r"
    lines = ["model,family"]
    for number in range(6):
        result(
            folder,
            model=f"m{number}",
            params=10 ** (8 + number / 3),
            acc=0.3 + 0.08 * number,
            name=f"{number}",
        )
        lines.append(f"m{number},{'ours' if number < 5 else 'theirs'}")
    (tmp_path / "models.csv").write_text("\n".join(lines) + "\n")
    words = ("ruler", folder, "--models", tmp_path / "models.csv", "--name", "mine", "-o", tmp_path)
    assert "2 families: ours, theirs" in run(*words, code=2).stderr
    done = run(*words, "--family", "ours")
    ruler = json.loads((tmp_path / "mine.json").read_text())
    assert [point["model"] for point in ruler["points"]] == [f"m{number}" for number in range(5)]
    assert set(ruler["tasks"]) == {"arc_easy", "mmlu", "arc_easy + mmlu"}
    assert "mmlu counts alone, without its parts mmlu_anatomy" in done.stderr
    assert "chance levels of the ruler: arc_easy 0.25, mmlu 0.25" in done.stderr
    assert "'ours2'" in run(*words, "--family", "ours2", code=2).stderr
    idle = run(*words, "--family", "ours", "--chance", "nothing=0.5", code=2).stderr
    assert "--chance names the task 'nothing'" in idle
