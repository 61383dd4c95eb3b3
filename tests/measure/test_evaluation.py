"""lm-eval in process on a real model, then a ruler and densities from what it wrote."""

import csv
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparsity_lab.errors import UnknownNameError
from sparsity_lab.measure.lm_eval.bridge import task_manager
from sparsity_lab.measure.lm_eval.scoring import EvalSpec, task_files
from tests import command
from tests.at_hand import at_hand
from tests.loggers import reading

MODEL, TEXT = at_hand("models/stories260K"), at_hand("text/stories260K_selfgen.txt")
DOCUMENTS = 40
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: {kind}
test_split: test
doc_to_text: "{{{{ctx}}}}"
{answers}
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


def run(*words, code=0):
    done = command.run(*words)
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A multiple-choice task and a log-likelihood task: which six words continue half a story?"""
    folder = tmp_path_factory.mktemp("tasks")
    random.seed(0)
    lines = [line.split(" ") for line in TEXT.read_text().split("\n") if len(line) > 80]
    halves = [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :][:6])) for w in lines]
    choice, plain = [], []
    for number in range(DOCUMENTS):
        context, answer = halves[number]
        choices = [answer, *(halves[(number * 7 + j * 13 + 5) % len(halves)][1] for j in range(3))]
        random.shuffle(choices)
        choice.append({"ctx": context, "choices": choices, "gold": choices.index(answer)})
        plain.append({"ctx": context, "target": answer})
    for name, kind, rows, answers in (
        ("stories_mc", "multiple_choice", choice, 'doc_to_choice: "{{choices}}"\ndoc_to_target: gold'),
        ("stories_ll", "loglikelihood", plain, 'doc_to_target: " {{target}}"'),
    ):
        data = folder / f"{name}.jsonl"
        data.write_text("\n".join(map(json.dumps, rows)))
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=data, kind=kind, answers=answers))
    return folder


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The model cut to its first 2, 3, 4 and 5 layers: four real models whose scores grow with size."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("family")
    for layers in (2, 3, 4, 5):
        model = AutoModelForCausalLM.from_pretrained(MODEL)
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
        model.save_pretrained(folder / f"tiny-{layers}")
        AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder / f"tiny-{layers}")
    return folder


@pytest.fixture(scope="module")
def evaluated(tasks, family, tmp_path_factory):
    from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval

    output = tmp_path_factory.mktemp("results")
    for model in sorted(family.iterdir()):
        spec = EvalSpec(str(model), ("stories_mc", "stories_ll"), include_path=tasks)
        run_eval(spec, output=output / model.name)
    return output


def table(family, path):
    rows = ["model,family,train_tokens_t,release_date"]
    rows += [f"{m.name},tiny,0.001,2023-0{i + 1}-01" for i, m in enumerate(sorted(family.iterdir()))]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_results_are_those_of_lm_eval_itself(tasks, tmp_path):
    """The same numbers as lm-eval's own command, and its files where it would put them."""
    run("eval", MODEL, "--tasks", "stories_mc,stories_ll", "--include-path", tasks, "--offline",
        "--output", tmp_path / "ours")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", "hf",
         "--model_args", f"pretrained={MODEL},dtype=float32",
         "--tasks", "stories_mc,stories_ll", "--include_path", tasks, "--device", "cpu", "--batch_size", "8",
         "--log_samples", "--output_path", tmp_path / "theirs"],
        env=OFFLINE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (next((tmp_path / name).rglob("results_*.json")) for name in ("ours", "theirs"))
    mine, other = (json.loads(path.read_text()) for path in (ours, theirs))
    for task in ("stories_mc", "stories_ll"):
        assert mine["results"][task]["acc,none"] == other["results"][task]["acc,none"]
        lines = [next(p.parent.glob(f"samples_{task}_*")).read_text().splitlines() for p in (ours, theirs)]
        for one, two in zip(*lines, strict=True):
            pairs = zip(json.loads(one)["filtered_resps"], json.loads(two)["filtered_resps"], strict=True)
            assert all(math.isclose(float(a[0]), float(b[0]), rel_tol=1e-4) for a, b in pairs)
    assert mine["sparsity_lab"] == {"setting": None}


@pytest.mark.long
def test_ruler_and_density_from_the_results(evaluated, family, tmp_path):
    models = table(family, tmp_path / "models.csv")
    run("density", "ruler", evaluated, "--models", models, "--name", "tiny", "--tasks", "stories_mc",
        "--output", tmp_path / "ruler")  # fmt: skip
    ruler = json.loads((tmp_path / "ruler" / "tiny.json").read_text())
    assert ruler["form"] == "one-step"
    assert [p["model"] for p in ruler["points"]] == [f"tiny-{n}" for n in (2, 3, 4, 5)]
    run("density", "--targets", evaluated, "--models", models, "--ruler", tmp_path / "ruler" / "tiny.json",
        "--output", tmp_path / "density")  # fmt: skip
    found = json.loads((tmp_path / "density" / "density.json").read_text())
    largest = next(m for m in found["models"] if m["model"] == "tiny-5")
    assert largest["rho"] is None or 0.5 < largest["rho"] < 2
    with (tmp_path / "density" / "losses.csv").open() as stream:
        losses = list(csv.DictReader(stream))
    assert len(losses) == 8
    in_order = [float(r["nats_per_token"]) for r in losses if r["task"] == "stories_ll"]
    assert in_order == sorted(in_order, reverse=True)  # more layers, less loss


def measured_records(folder, criterion="cett", percents=(1, 5, 10)):
    """Records of the model at PPL-1 %, 5 % and 10 %, measured on its own text."""
    from sparsity_lab.measure.checkpoints import measure_checkpoints
    from sparsity_lab.measure.spec import MeasureSpec, expand

    for percent in percents:
        spec = MeasureSpec(
            text=TEXT, criterion=criterion, ppl_increase=percent / 100, tokens=4096, window=256, bos=False
        )
        (row,) = measure_checkpoints(spec, expand([str(MODEL)]), output=folder / f"measured-{percent}")
        yield folder / f"measured-{percent}" / "records" / f"{row['content_key']}.json"


@pytest.mark.slow
def test_dense_and_under_thresholds(tasks, evaluated, family, tmp_path):
    """One model dense and at three qualities side by side, and a density for each."""
    records = list(measured_records(tmp_path))
    words = [word for record in records for word in ("--thresholds", record)]
    run("eval", family / "tiny-5", "--tasks", "stories_mc,stories_ll", "--include-path", tasks, "--offline",
        *words, "--output", tmp_path / "all")  # fmt: skip
    with (tmp_path / "all" / "eval.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["setting"] for row in rows] == ["dense", "PPL-1%", "PPL-5%", "PPL-10%"]
    ratios = [float(row["activation_ratio"]) for row in rows[1:]]
    assert ratios == sorted(ratios, reverse=True)  # a higher price in perplexity buys more sparsity
    models = table(family, tmp_path / "models.csv")
    run("density", "ruler", evaluated, "--models", models, "--name", "tiny", "--tasks", "stories_mc",
        "--output", tmp_path / "ruler")  # fmt: skip
    run("density", "--targets", tmp_path / "all", "--models", models, "--output", tmp_path / "density",
        "--ruler", tmp_path / "ruler" / "tiny.json")  # fmt: skip
    names = {m["model"] for m in json.loads((tmp_path / "density" / "density.json").read_text())["models"]}
    assert names == {"tiny-5", "tiny-5 at PPL-1%", "tiny-5 at PPL-5%", "tiny-5 at PPL-10%"}
    with (tmp_path / "density" / "losses.csv").open() as stream:
        losses = {(r["thresholds"], r["task"]): float(r["nats_per_token"]) for r in csv.DictReader(stream)}
    gaps = {
        name: losses[name, "stories_ll"] - losses["dense", "stories_ll"] for name in ("PPL-1%", "PPL-10%")
    }
    assert gaps["PPL-1%"] != 0
    # The thresholds were set on other text; the loss of these answers rises by about as much.
    assert abs(gaps["PPL-1%"]) < 0.1
    assert abs(gaps["PPL-10%"] - math.log(1.1)) < 0.1
    (other,) = measured_records(tmp_path / "cats", "cats", (1,))
    again = run("eval", MODEL, "--tasks", "stories_ll", "--include-path", tasks, "--offline", "--no-dense",
                "--thresholds", records[0], "--thresholds", other, "--output", tmp_path / "again")  # fmt: skip
    assert "| PPL-1% " in again.stdout
    assert "| cats PPL-1% " in again.stdout
    twice = run("eval", MODEL, "--tasks", "stories_ll", "--include-path", tasks, "--offline",
                "--thresholds", records[0], "--thresholds", records[0], "--output", tmp_path, code=2)  # fmt: skip
    assert "are both called PPL-1%" in twice.stderr


@pytest.mark.parametrize(
    "named",
    ["data_files: {file}", "data_files: [{file}]", "dataset_path: '{folder}'", "test: ../apart/d.json"],
)
def test_data_that_a_task_names_elsewhere_are_part_of_its_key(tmp_path, named):
    tasks, apart, output = tmp_path / "tasks", tmp_path / "apart", tmp_path / "out"
    tasks.mkdir()
    apart.mkdir()
    data = apart / "d.json"
    data.write_text("[1]")
    (tasks / "t.yaml").write_text("task: t\n" + named.format(file=data, folder=apart) + "\ninclude: /\n")
    spec = EvalSpec("model", ("t",), include_path=tasks)
    before = task_files(spec, output=output)
    assert [name for name, _, _ in before] == ["../apart/d.json", "t.yaml"]
    assert task_files(spec, output=output) == before
    data.write_text("[1, 2]")
    assert task_files(spec, output=output) != before


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_settings_are_resumed_shared_and_marked_where_they_fail(tasks, family, tmp_path, jobs):
    """What was evaluated is kept, two processes find the same, and a setting that fails leaves the others."""
    model, record = family / "tiny-5", next(measured_records(tmp_path))
    words = (
        "eval",
        model,
        "--tasks",
        "stories_ll",
        "--include-path",
        tasks,
        "--offline",
        "--thresholds",
        record,
    )
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    run(*words, "--jobs", jobs, "--log", "tensorboard", "--output", shared)
    run(*words, "--no-dense", "--output", alone)
    (kept,) = alone.rglob("results_*.json")
    run(*words, "--output", alone)
    assert (alone / "eval.csv").read_bytes() == (shared / "eval.csv").read_bytes()
    assert list((alone / "PPL-1").rglob("results_*.json")) == [kept], "it was not evaluated once more"
    run(*words, "--again", "--no-dense", "--output", alone)
    assert len(list((alone / "PPL-1").rglob("results_*.json"))) == 2
    scalars, _ = reading.tensorboard(shared, "tiny-5")
    with (shared / "eval.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        ((_, score),) = scalars[f"stories_ll (acc)/{row['setting']}"]
        assert score == pytest.approx(float(row["stories_ll (acc)"]))
    # A task that breaks once the first setting has its record.
    broken, odd = tmp_path / "broken", tmp_path / "odd"
    odd.mkdir()
    (odd / "odd.yaml").write_text(
        TASK.format(name="odd", data=tasks / "stories_ll.jsonl", kind="loglikelihood",
                    answers='doc_to_target: "{{target}}"').replace('"{{ctx}}"', "!function odd.context")
    )  # fmt: skip
    (odd / "odd.py").write_text(
        f"from pathlib import Path\ndef context(doc):\n    if any(Path({str(broken)!r}).glob('eval_records/*.json')):\n"
        "        raise ValueError('broken late')\n    return doc['ctx']\n"
    )
    words = ("eval", model, "--tasks", "odd", "--include-path", odd, "--offline", "--thresholds", record)
    done = run(*words, "--output", broken, code=1)
    assert "1 of 2 settings failed" in done.stderr
    with (broken / "eval.csv").open() as stream:
        dense, failed = csv.DictReader(stream)
    assert (dense["failed"], failed["odd (acc)"]) == ("", "")
    assert "broken late" in failed["failed"]
    assert dense["odd (acc)"] == rows[0]["stories_ll (acc)"]
    assert "broken late" in run(*words, "--fail-fast", "--output", broken, code=2).stderr


@pytest.mark.long
def test_several_models_have_a_row_for_each_and_one_that_fails_leaves_the_others(
    tasks, evaluated, family, tmp_path
):
    shutil.copytree(family, tmp_path / "family")
    words = (
        "--tasks",
        "stories_mc,stories_ll",
        "--include-path",
        tasks,
        "--offline",
        "--output",
        tmp_path / "out",
    )
    with (evaluated / "tiny-5" / "eval.csv").open() as stream:
        (alone,) = csv.DictReader(stream)
    (tmp_path / "family" / "tiny-2" / "model.safetensors").write_bytes(b"")
    done = run("eval", tmp_path / "family", *words, code=1)
    assert "1 of 4 settings failed" in done.stderr
    with (tmp_path / "out" / "eval.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row["model"]).name for row in rows] == [f"tiny-{n}" for n in (2, 3, 4, 5)]
    assert [bool(row["failed"]) for row in rows] == [True, False, False, False]
    assert {key: rows[-1][key] for key in alone} == alone
    results = (tmp_path / "out" / "dense").rglob("results_*.json")
    assert {json.loads(path.read_text())["model_name"][-6:] for path in results} == {
        "tiny-3",
        "tiny-4",
        "tiny-5",
    }


@pytest.mark.long
def test_each_of_several_models_is_evaluated_under_its_own_record(tasks, family, tmp_path):
    models = [family / "tiny-4", family / "tiny-5"]
    run("measure", *models, "--text", TEXT, "--knob", "0.1", "--tokens", "1024", "--window", "128", "--device", "cpu",
        "--output", tmp_path / "measured")  # fmt: skip
    words = ("eval", *models, "--tasks", "stories_ll", "--include-path", tasks, "--offline")
    run(*words, "--no-dense", "--thresholds", tmp_path / "measured", "--output", tmp_path / "out")
    with (tmp_path / "measured" / "table.csv").open() as stream:
        measured = {row["content_key"]: row["activation_ratio"] for row in csv.DictReader(stream)}
    notes = [
        json.loads(path.read_text())["sparsity_lab"]
        for path in sorted((tmp_path / "out").rglob("results_*.json"))
    ]
    assert {note["content_key"] for note in notes} == set(measured)
    with (tmp_path / "out" / "eval.csv").open() as stream:
        assert sorted(row["activation_ratio"] for row in csv.DictReader(stream)) == sorted(measured.values())
    none = run(*words, "--thresholds", evaluated_alone(tmp_path), "--output", tmp_path / "none", code=2)
    assert "record" in none.stderr


def evaluated_alone(folder):
    """A folder of records that holds one of the two models alone."""
    (record, _) = sorted((folder / "measured" / "records").glob("*.json"))
    (folder / "one" / "records").mkdir(parents=True)
    return Path(shutil.copy(record, folder / "one" / "records")).parents[1]


@pytest.mark.long
def test_thresholds_of_another_model(tasks, family, tmp_path):
    record = next(measured_records(tmp_path))
    done = run("eval", family / "tiny-3", "--tasks", "stories_ll", "--include-path", tasks, "--offline",
               "--thresholds", record, "--output", tmp_path / "out", code=2)  # fmt: skip
    assert "5 thresholds for a model of 3 FFN layers" in done.stderr


@pytest.mark.long
def test_bad_input(tasks, tmp_path):
    unknown = run("eval", MODEL, "--tasks", "stories_mx", "--include-path", tasks, "--offline",
                  "--output", tmp_path, code=2)  # fmt: skip
    assert "Did you mean 'stories_mc'" in unknown.stderr
    none = run("eval", tmp_path / "no", "--tasks", "stories_mc", "--include-path", tasks, "--offline",
               "--output", tmp_path, code=2)  # fmt: skip
    assert "no" in none.stderr
    record = tmp_path / "r.json"
    record.write_text("{}")
    broken = run("eval", MODEL, "--tasks", "stories_mc", "--include-path", tasks, "--thresholds", record,
                 "--offline", "--output", tmp_path, code=2)  # fmt: skip
    assert "record" in broken.stderr
    absent = run("eval", MODEL, "--tasks", "stories_mc", "--include-path", tasks, "--offline", "--output", tmp_path,
                 "--architecture-file", tmp_path / "absent.py", code=2)  # fmt: skip
    assert "Cannot read the architecture file" in absent.stderr
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"ctx": "Once upon a", "target": "time"}))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd.yaml").write_text(
        TASK.format(name="odd", data=data, kind="[[]]", answers='doc_to_target: "{{target}}"')
    )
    odd = run("eval", MODEL, "--tasks", "odd", "--include-path", tmp_path / "odd", "--offline",
              "--output", tmp_path, code=2)  # fmt: skip
    assert "lm-eval cannot run odd" in odd.stderr
    assert "Correct the task file" in odd.stderr
    assert "Traceback" not in odd.stderr
    assert not list(tmp_path.rglob("results_*.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "nearest", "fix"),
    [("q" * 12, None, "--include-path"), ("arc_eazy", "arc_easy", "'arc_easy'")],
)
def test_an_unknown_task_is_told_with_the_nearest_one_or_where_its_file_is_named(task, nearest, fix):
    with pytest.raises(UnknownNameError) as caught:
        task_manager([task], None)
    assert caught.value.nearest == nearest
    assert fix in caught.value.paragraph()
    assert len(caught.value.paragraph()) < 200, "thousands of tasks are known"
