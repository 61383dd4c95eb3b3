"""The recipe of docs/densing-bench.md on small copies of the layout of the authors' models and bench."""

import json
import random
import re
from pathlib import Path

import pytest

from sparsity_lab.fitting.density.lm_eval.results import ladder_of, read_evaluations
from tests import command
from tests.at_hand import at_hand

MODEL, TEXT = at_hand("models/stories260K"), at_hand("text/stories260K_selfgen.txt")
PAGE = Path(__file__).parents[2] / "docs" / "densing-bench.md"
DOCUMENTS = 60
# Which layers each stand-in keeps of a model of five; two of them are of one size, as runs of a ladder may be.
LAYERS = {
    "s1": (0,),
    "s2": (0, 4),
    "s3": (0, 1, 4),
    "s4": (0, 1, 3, 4),
    "s5": (0, 1, 2, 4),
    "s6": (0, 1, 2, 3, 4),
}
CHOICE = """
task: stories
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
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
def layout(tmp_path_factory):
    """ScalingModels/s1 to s6, ScalingBench/stories.jsonl, and the tasks that the page describes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("layout")
    for name, kept in LAYERS.items():
        model = AutoModelForCausalLM.from_pretrained(MODEL)
        model.model.layers = model.model.layers.__class__(model.model.layers[layer] for layer in kept)
        model.config.num_hidden_layers = len(kept)
        model.save_pretrained(folder / "ScalingModels" / name)
        AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder / "ScalingModels" / name)
    random.seed(0)
    lines = [line.split(" ") for line in TEXT.read_text().split("\n") if len(line) > 80]
    halves = [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :][:6])) for w in lines]
    bench, choice = [], []
    for number in range(DOCUMENTS):
        question, answer = halves[number]
        choices = [answer, *(halves[(number * 7 + j * 13 + 5) % len(halves)][1] for j in range(3))]
        random.shuffle(choices)
        bench.append({"input": question, "output": answer})
        choice.append({"question": question, "choices": choices, "gold": choices.index(answer)})
    for path, rows in (("ScalingBench/stories.jsonl", bench), ("apart/stories.jsonl", choice)):
        (folder / path).parent.mkdir()
        (folder / path).write_text("\n".join(map(json.dumps, rows)))
    (folder / "tasks").mkdir()
    (task,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    task = task.replace("ScalingBench/mmlu.jsonl", str(folder / "ScalingBench" / "stories.jsonl"))
    (folder / "tasks" / "densing.yaml").write_text(task.replace("densing_mmlu", "densing_stories"))
    (folder / "tasks" / "stories.yaml").write_text(CHOICE.format(data=folder / "apart" / "stories.jsonl"))
    rows = ["model,family,train_tokens_t"]
    rows += [f"{name},scaling,{0.001 * (n + 1)}" for n, name in enumerate(LAYERS)]
    (folder / "models.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def evaluated(layout):
    models = [layout / "ScalingModels" / name for name in LAYERS]
    run("eval", *models, "--tasks", "stories,densing_stories", "--include-path", layout / "tasks", "--offline",
        "--output", layout / "scaling")  # fmt: skip
    return layout / "scaling"


@pytest.mark.long
def test_a_two_step_ruler_of_the_bench_s_losses_and_the_benchmark_s_scores(layout, evaluated):
    words = ("density", "ruler", evaluated, "--models", layout / "models.csv", "--d0", "1e10")
    run(*words, "--loss", "stories=densing_stories", "--name", "scaling", "--output", layout / "rulers")
    ruler = json.loads((layout / "rulers" / "scaling.json").read_text())
    assert ruler["form"] == "two-step"
    assert list(ruler["tasks"]) == ["stories"]
    evaluations = read_evaluations(evaluated, models=layout / "models.csv")
    ladder = ladder_of(evaluations, {"stories": "densing_stories"})
    losses = {e.target.model: e.tasks["densing_stories"].loss.nats_per_token for e in evaluations}
    assert {r.name: r.final_loss("stories") for r in ladder.references} == pytest.approx(losses)
    scores = {e.target.model: e.tasks["stories"].score.value for e in evaluations}
    assert {r.name: r.final_score("stories") for r in ladder.references} == pytest.approx(scores)
    assert set(ladder_of(evaluations).tasks) == {"stories", "densing_stories"}
    run("density", "--targets", evaluated, "--models", layout / "models.csv", "--ruler",
        layout / "rulers" / "scaling.json", "--no-sensitivity", "--output", layout / "density")  # fmt: skip
    found = json.loads((layout / "density" / "density.json").read_text())
    assert {model["model"] for model in found["models"]} == set(LAYERS)
    assert losses["s6"] < losses["s1"]


@pytest.mark.long
def test_a_loss_of_no_task(layout, evaluated):
    words = ("density", "ruler", evaluated, "--models", layout / "models.csv", "--name", "x")
    done = run(*words, "--loss", "stories=densing_storeis", "--output", layout / "none", code=2)
    assert "densing_stories" in done.stderr
    assert "--loss" in run(*words, "--loss", "stories", "--output", layout / "none", code=2).stderr
    table = run("density", "ruler", "olmo-ladder", "--name", "x", "--loss", "mmlu=piqa", "--output", layout / "none",
                code=2)  # fmt: skip
    assert "--loss" in table.stderr
