"""Densities and rulers from lm-eval's results: families, groups, metrics, shots, chance levels and sizes."""

import json
import logging
import math

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import OTHER_SIZE, REFERENCE
from sparsity_lab.fitting.density.lm_eval.results import read_evaluations
from sparsity_lab.fitting.density.lm_eval.rulers import chances_of
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.report import run_density
from sparsity_lab.fitting.density.rulers.build import RulerOptions, build_ruler
from sparsity_lab.fitting.density.scores.metrics import TaskScores, TaskSetting, choose_metric, wanted_metrics
from sparsity_lab.fitting.density.scores.targets import TaskScore
from tests.fitting.lm_eval_documents import accuracy, document, write_results

pytestmark = pytest.mark.usefixtures("unrendered")

SIZES = (1.6e8, 4.1e8, 1e9, 2.8e9, 6.9e9)
RISING = (0.26, 0.3, 0.36, 0.43, 0.5)


def family(*tasks, parts=None):
    """Five models of one family whose scores rise with size."""
    return [
        document(
            model=f"acme/base-{size / 1e9:g}b", params=size,
            scores={task: {"acc,none": score + 0.01 * n, "acc_norm,none": score + 0.02 + 0.01 * n}
                    for n, task in enumerate(tasks)},
            group_subtasks=parts or {},
        )
        for size, score in zip(SIZES, RISING, strict=True)
    ]  # fmt: skip


def ruler_from(folder, tmp_path, **options):
    return build_ruler(folder, output=tmp_path / "rulers", options=RulerOptions("mine", **options)).ruler


def measured(folder, **options):
    return measure_density(options=DensityOptions(targets=folder, sensitivity=False, **options))


KNOWN_GROUP = ("arc_easy", "mmlu", "mmlu_humanities", "mmlu_formal_logic", "mmlu_world_religions")
GROUPS = {
    "of lm-eval, in no file": (KNOWN_GROUP, {}, ["arc_easy", "mmlu"], ("mmlu", "mmlu_formal_logic")),
    "named by the file": (
        ("mine", "mine_a", "mine_b", "arc_easy"), {"mine": ["mine_a", "mine_b"]}, ["arc_easy", "mine"],
        ("mine", "mine_a"),
    ),
    "in a group": (
        ("outer", "inner", "leaf", "piqa"), {"outer": ["inner", "leaf"], "inner": ["deep"]}, ["outer", "piqa"],
        ("outer", "inner"),
    ),
    "parts alone": (("mmlu_anatomy", "mmlu_virology"), {}, ["mmlu_anatomy", "mmlu_virology"], None),
}  # fmt: skip
CHANCES = tuple(f"{task}=0.2" for task in ("mine", "mine_a", "mine_b", "outer", "inner", "leaf"))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.long
def test_groups_count_once_in_own_rulers_and_in_targets(kind, tmp_path):
    tasks, parts, expected, _ = GROUPS[kind]
    folder = write_results(tmp_path / "r", *family(*tasks, parts=parts))
    chances = tuple(word for word in CHANCES if word.split("=")[0] in tasks)
    ruler = ruler_from(folder, tmp_path, chances=chances)
    assert sorted(ruler.tasks) == expected
    whole = ruler_from(
        folder, tmp_path, chances=chances, tasks=tasks
    )  # a ruler with groups and parts, as asked
    report = measured(folder, ruler=str(tmp_path / "rulers" / "mine.json"))
    assert set(whole.tasks) == set(tasks)
    assert sorted(report.tasks) == expected
    assert any("its parts" in note for note in ruler.notes) == (len(expected) < len(tasks))


@pytest.mark.thorough(1)
@pytest.mark.parametrize("kind", [kind for kind in GROUPS if GROUPS[kind][3]])
def test_a_group_and_its_part_are_averaged_if_asked_and_that_is_said(kind, tmp_path):
    tasks, parts, _, asked = GROUPS[kind]
    folder = write_results(tmp_path / "r", *family(*tasks, parts=parts))
    chances = tuple(word for word in CHANCES if word.split("=")[0] in tasks)
    ruler = ruler_from(folder, tmp_path, tasks=asked, chances=chances)
    assert ruler.tasks == asked
    assert any("same questions" in note for note in ruler.notes)


def test_a_group_whose_score_is_not_of_all_its_parts_does_not_stand_for_them(tmp_path):
    documents = family("leaderboard", "leaderboard_mmlu_pro", "leaderboard_musr",
                       parts={"leaderboard": ["leaderboard_mmlu_pro", "leaderboard_musr"]})  # fmt: skip
    for content in documents:
        del content["results"]["leaderboard_musr"]["acc,none"]
    chances = [f"{task}=0.1" for task in documents[0]["results"]]
    ruler = ruler_from(write_results(tmp_path / "r", *documents), tmp_path, chances=tuple(chances))
    assert set(ruler.tasks) == {"leaderboard_mmlu_pro", "leaderboard_musr"}
    assert any("not of all its parts" in note for note in ruler.notes)


SCORES = {
    "arc_challenge": {"acc,none": 0.38, "acc_norm,none": 0.42},
    "hellaswag": {"acc,none": 0.5, "acc_norm,none": 0.66},
    "winogrande": {"acc,none": 0.64},
    "mmlu": {"acc,none": 0.32},
    "truthfulqa_mc2": {"acc,none": 0.36},
    "gsm8k": {"exact_match,strict-match": 0.05, "exact_match,flexible-extract": 0.06},
    "humaneval": {"pass@1,create_test": 0.1},
}
OF_THE_LLAMA_RULER = {
    "ARC-C": 0.42, "HellaSwag": 0.66, "Winograd": 0.64, "MMLU": 0.32, "TruthfulQA": 0.36, "GSM8K": 0.05,
    "HumanEval": 0.1,
}  # fmt: skip


@pytest.fixture
def evaluated(tmp_path):
    return write_results(tmp_path / "r", document(model="lab/pythia-1.4b", params=1.4e9, scores=SCORES))


@pytest.mark.long
def test_a_bundled_ruler_reads_lm_evals_names_under_its_own_metrics(evaluated):
    report = measured(evaluated, ruler="obs-llama")
    (density,) = report.densities
    assert {task: score.value for task, score in density.target.scores.items()} == OF_THE_LLAMA_RULER
    rows = {row["lm_eval_task"]: row for row in report.metrics}
    assert rows["arc_challenge"]["why"] == "it is the ruler's"
    assert (rows["arc_challenge"]["shots"], rows["arc_challenge"]["ruler_shots"]) == (0, 25)
    assert any("arc_challenge" in note and "0 shots, the ruler with 25" in note for note in report.notes)
    assert not any("truthfulqa_mc2" in note and "shots" in note for note in report.notes)


@pytest.mark.parametrize("tasks", [("MMLU", "ARC-C"), ("mmlu", "arc_challenge"), ("Mmlu", "Arc Challenge")])
def test_tasks_are_asked_for_under_any_name(evaluated, tasks):
    assert measured(evaluated, ruler="obs-llama", tasks=tasks).tasks == ("MMLU", "ARC-C")


@pytest.mark.long
def test_a_family_of_the_bundled_table_reads_lm_evals_names(evaluated):
    assert set(measured(evaluated, ruler="Qwen2.5").tasks) == {"MMLU", "GSM8K", "HumanEval"}
    assert set(measured(evaluated).tasks) <= {"MMLU", "GSM8K", "HumanEval"}


def test_the_metric_that_the_ruler_has_and_the_result_has_not(evaluated):
    report = measured(evaluated, ruler="olmo-ladder")
    rows = {row["task"]: row for row in report.metrics}
    assert rows["hellaswag"]["metric"] == "acc_norm,none"
    assert any("mmlu: acc,none" in note and "the ruler's is" in note for note in report.notes)
    assert any("lm-eval's mmlu ranks letters" in note for note in report.notes)


GSM8K = {"exact_match,strict-match": 0.2, "exact_match,flexible-extract": 0.4}


@pytest.mark.parametrize(
    ("ruler", "scores", "metrics", "said"),
    [
        ("Qwen2.5", {"gsm8k": {"exact_match,flexible-extract": 0.4}}, (), "exact_match,strict-match"),
        ("Qwen2.5", {"gsm8k": GSM8K}, ("exact_match,flexible-extract",), "exact_match,strict-match"),
        ("Qwen2.5", {"gsm8k": GSM8K}, (), ""),
        ("olmo-ladder", {"arc_easy": {"acc,none": 0.5, "acc_norm,none": 0.6}}, ("acc",), "acc_norm"),
        ("olmo-ladder", {"arc_easy": {"acc,none": 0.5, "acc_norm,none": 0.6}}, (), ""),
        ("olmo-ladder", {"arc_easy": {"acc": 0.5, "acc_norm": 0.6}}, (), ""),
    ],
)
def test_another_metric_than_the_rulers_is_said_whatever_the_reason(ruler, scores, metrics, said, tmp_path):
    report = measured(write_results(tmp_path, document(scores=scores)), ruler=ruler, metrics=metrics)
    notes = [note for note in report.notes if "the ruler's is" in note]
    assert len(notes) == bool(said)
    assert all(f"the ruler's is {said}" in note for note in notes)


def test_tasks_scored_alike_share_a_note(tmp_path):
    tasks = ("arc_easy", "piqa", "openbookqa", "hellaswag", "arc_challenge")
    scores = {task: {"acc,none": 0.5, "acc_norm,none": 0.6} for task in tasks}
    report = measured(write_results(tmp_path, document(scores=scores)), ruler="olmo-ladder")
    assert [note for note in report.notes if "metric of" in note] == [
        f"metric of {', '.join(tasks)}: acc_norm,none, because it is the ruler's; scored with 0 shots, the ruler with 5"
    ]


def test_tasks_that_the_ruler_does_not_have_are_named(tmp_path):
    scores = {"piqa": {"acc_norm,none": 0.7}, "arc_easy_mine": {"acc,none": 0.5}, "mmlu": {"acc,none": 0.3}}
    scores |= {"mmlu_anatomy": {"acc,none": 0.3}}
    report = measured(write_results(tmp_path, document(scores=scores)), ruler="obs-llama")
    assert [n for n in report.notes if "not used" in n] == [
        "not used, since obs-llama does not have them: piqa, arc_easy_mine"
    ]


SETTINGS = {"ARC-C": TaskSetting("acc_norm", 25), "mine": TaskSetting("f1", None)}


@pytest.mark.parametrize(
    ("task", "metrics", "asked", "chosen"),
    [
        ("arc_challenge", ["acc,none", "acc_norm,none"], [], "acc_norm,none"),
        ("arc_challenge", ["acc,none", "acc_norm,none"], ["acc"], "acc,none"),
        ("arc_challenge", ["acc,none", "acc_norm,none"], ["ARC-C=acc"], "acc,none"),
        ("arc_challenge", ["acc,none", "acc_norm,none"], ["acc", "arc_challenge=acc_norm"], "acc_norm,none"),
        ("arc_challenge", ["acc,none"], ["acc_norm"], None),
        ("arc_easy", ["acc_norm,none", "acc,none"], [], "acc,none"),
        ("openbookqa", ["acc,none", "acc_norm,none"], [], "acc_norm,none"),
        ("gsm8k", ["exact_match,flexible-extract", "exact_match,strict-match"], [], "exact_match,strict-match"),
        ("gsm8k", ["exact_match,flexible-extract", "exact_match,strict-match"],
         ["gsm8k=exact_match,flexible-extract"], "exact_match,flexible-extract"),
        ("mine", ["acc,none", "f1,none"], [], "f1,none"),
        ("other", ["oddity,none"], [], "oddity,none"),
        ("other", ["oddity,none", "strangeness,none"], [], None),
    ],
)  # fmt: skip
def test_the_metric_of_a_task(task, metrics, asked, chosen):
    scores = TaskScores(task, {name: TaskScore(0.5) for name in metrics})
    choice = choose_metric(scores, wanted_metrics(asked), SETTINGS)
    assert (choice and choice[0]) == chosen
    assert choice is None or choice[1]


@pytest.mark.parametrize(
    "metric",
    [
        "perplexity,none",
        "bits_per_byte,none",
        "brier_score,none",
        "bleu,none",
        "acc_stderr,none",
        "sample_len",
    ],
)
def test_what_is_no_score_of_0_to_1_is_never_one(metric, tmp_path):
    folder = write_results(tmp_path, document(scores={"a": {metric: 0.5}, **accuracy(0.4)}))
    (found,) = read_evaluations(folder)
    assert list(found.tasks) == ["arc_easy"]


def test_a_metric_of_which_less_is_better_is_no_score(tmp_path):
    lower = {"higher_is_better": {"a": {"loss": False}}}
    folder = write_results(tmp_path, document(scores={"a": {"loss,none": 0.5}, **accuracy(0.4)}, **lower))
    (found,) = read_evaluations(folder)
    assert list(found.tasks) == ["arc_easy"]


def with_losses(folder, *, strangers=0):
    """Six runs of one family with losses that follow a law, and models of another family; and their table."""
    lines = ["model,family,tokens"]
    for number in range(6 + strangers):
        params, tokens = (1e8, 4e8, 1.6e9)[number % 3], (1e10, 2e11)[number // 3 % 2]
        bits = 20 * params**-0.2 + 300 * tokens**-0.3 + 0.4
        name = f"run{number}"
        content = document(
            model=name, params=params, scores={"mine": {"acc,none": 1 / (1 + math.exp(4 * (bits - 0.9)))}}
        )
        path = folder / name / "results_2024-09-01T10-00-00.000001.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
        sample = {"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " abcd"}}, "target": "", "doc": {},
                  "filtered_resps": [[str(-bits * 4 * math.log(2)), "False"]]}  # fmt: skip
        (path.parent / "samples_mine_2024-09-01T10-00-00.000001.jsonl").write_text(json.dumps(sample) + "\n")
        lines.append(f"{name},{'fam' if number < 6 else ''},{tokens:.0f}")
    table = folder.parent / "models.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def test_the_family_decides_which_runs_a_two_step_ruler_is_made_of(tmp_path):
    models = with_losses(tmp_path / "r", strangers=1)
    ruler = ruler_from(tmp_path / "r", tmp_path, models=models, family="fam", draws=2)
    assert ruler.form == "two-step"
    assert set(ruler.references) >= {f"run{n}" for n in range(6)}
    assert "run6" not in ruler.references
    with pytest.raises(SparsityLabError, match="2 families: fam, run6"):
        ruler_from(tmp_path / "r", tmp_path, models=models, draws=2)
    report = measured(tmp_path / "r", models=models, ruler=str(tmp_path / "rulers" / "mine.json"))
    flagged = {d.target.model for d in report.densities if REFERENCE in d.flags}
    assert flagged == {f"run{n}" for n in range(6)}
    assert any("that the ruler mine is made of" in note for note in report.notes)


def test_a_family_that_nobody_states_is_said_to_be_guessed(tmp_path):
    ruler = ruler_from(write_results(tmp_path / "r", *family("arc_easy")), tmp_path)
    assert any("families guessed from names: base" in note for note in ruler.notes)


def test_two_results_of_one_model_are_no_two_reference_models(tmp_path):
    documents = [*family("arc_easy"), document(model="acme/base-1b", args="revision=step1", params=1e9)]
    with pytest.raises(SparsityLabError, match=r"base-1b and base-1b@step1"):
        ruler_from(write_results(tmp_path / "r", *documents), tmp_path)


def test_results_under_thresholds_are_no_reference_models(tmp_path):
    sparse = document(model="acme/base-1b", params=1e9, sparsity_lab={"setting": "PPL-1%"})
    ruler = ruler_from(write_results(tmp_path / "r", *family("arc_easy"), sparse), tmp_path)
    assert len(ruler.points) == 5
    assert any("1 results under thresholds" in note for note in ruler.notes)


def test_a_ruler_remembers_how_it_was_scored(tmp_path):
    folder = write_results(tmp_path / "r", *family("arc_easy"))
    ruler_from(folder, tmp_path, metrics=("acc_norm",))
    target = write_results(
        tmp_path / "t", document(scores=family("arc_easy")[2]["results"], **{"n-shot": {"arc_easy": 5}})
    )
    report = measured(target, ruler=str(tmp_path / "rulers" / "mine.json"))
    (row,) = report.metrics
    assert (row["metric"], row["why"]) == ("acc_norm,none", "it is the ruler's")
    assert (row["shots"], row["ruler_shots"]) == (5, 0)


def test_a_task_that_no_ruler_can_be_made_of_is_left_out_and_said(tmp_path):
    documents = family("arc_easy", "piqa")
    for content in documents:
        content["results"]["piqa"] = {"acc,none": 0.5}
    ruler = ruler_from(write_results(tmp_path / "r", *documents), tmp_path)
    assert ruler.tasks == ("arc_easy",)
    assert any("piqa is left out of the ruler" in note for note in ruler.notes)


def test_an_unknown_chance_level_is_asked_for(tmp_path):
    folder = write_results(tmp_path / "r", *family("mine"))
    with pytest.raises(SparsityLabError, match="chance level of the task mine is unknown"):
        ruler_from(folder, tmp_path)
    assert ruler_from(folder, tmp_path, chances=("mine=0.2",)).curve(("mine",)).chance == 0.2


@pytest.mark.parametrize(
    ("configuration", "chance"),
    [
        ({"output_type": "multiple_choice", "doc_to_choice": ["a", "b", "c"]}, 1 / 3),
        ({"output_type": "generate_until"}, 0.0),
        ({"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}, None),
    ],
)
def test_a_chance_level_from_the_configuration(configuration, chance, tmp_path):
    folder = write_results(tmp_path, document(scores=accuracy(0.5, "mine"), configs={"mine": configuration}))
    notes = Notes()
    found = chances_of(read_evaluations(folder), {}, notes)
    assert found == ({} if chance is None else {"mine": pytest.approx(chance)})
    assert bool(notes) == (chance is not None)


def test_sizes_that_are_not_counted_as_the_rulers(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(
        "model,params,params_nonembedding_b,arc_easy\na-1B,1e9,0.8,50\nb-1B,1e9,1.0,50\nc-1B,1e9,,50\n"
    )
    flagged = {d.target.model: OTHER_SIZE in d.flags for d in measured(table, ruler="olmo-ladder").densities}
    assert flagged == {"a-1B": True, "b-1B": False, "c-1B": True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ruler": "obs-llama", "chances": ("mmlu=0.25",)}, "own chance levels"),
        ({"ruler": "Qwen2.5", "chances": ("mmul=0.25",)}, "'mmul', which is not there"),
        ({"ruler": "Qwen2.5", "chances": ("mmlu=25",)}, "--chance 'mmlu=25'"),
        ({"metrics": ("pika=acc",)}, "'pika', which is not there"),
        ({"metrics": ("=acc",)}, "names no metric"),
        ({"metrics": ("acc", "acc_norm")}, "twice"),
    ],
)
def test_options_that_would_change_nothing(options, words, evaluated):
    with pytest.raises(SparsityLabError, match=words):
        measured(evaluated, **options)


def test_options_for_results_without_results(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("model,params_b,MMLU\na-7B,7,50\n")
    for options in ({"models": table}, {"metrics": ("acc",)}):
        with pytest.raises(SparsityLabError, match="folder of lm-eval results only"):
            measured(table, ruler="Qwen2.5", **options)


def test_a_ruler_of_flops_is_not_compared_with_parameters(tmp_path):
    from sparsity_lab.fitting.density.scores.sizes import SizeConvention
    from sparsity_lab.store import bundled

    options = RulerOptions("mine", family="Qwen1.5", tasks=("MMLU",), convention=SizeConvention(unit="flops"))
    build_ruler(bundled.path("obsscaling-models"), output=tmp_path, options=options)
    with pytest.raises(SparsityLabError, match="--against flops"):
        measured(bundled.path("obsscaling-models"), ruler=str(tmp_path / "mine.json"))


def test_notes_and_metrics_are_in_the_json(evaluated, tmp_path):
    options = DensityOptions(targets=evaluated, ruler="obs-llama", sensitivity=False)
    report, _ = run_density(output=tmp_path / "out", options=options)
    document_written = json.loads((tmp_path / "out" / "density.json").read_text())
    assert document_written["notes"] == list(report.notes) != []
    assert {row["task"] for row in document_written["metrics"]} == set(report.tasks)
    assert document_written["losses"][0]["identity"].startswith("lab/pythia-1.4b")


QUESTIONS = [{"q": f"question {n}", "choices": ["yes", "no", "maybe"], "label": n % 3} for n in range(12)]
TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
metric_list:
  - metric: acc
  - metric: acc_norm
metadata:
  version: 1.0
"""
GROUP = """group: mine
task:
  - mine_a
  - mine_b
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
"""


@pytest.fixture(scope="module")
def lm_eval_runs(tmp_path_factory):
    """Runs of the real lm-eval, its model of random answers in place of one that takes time."""
    pytest.importorskip("lm_eval")
    from huggingface_hub import constants
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("lm-eval")
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n")
    for name in ("mine_a", "mine_b", "alone"):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=folder / "q.jsonl"))
    (folder / "mine.yaml").write_text(GROUP)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    for arguments in ("revision=step1", "revision=step2", "peft=me/lora", "revision=step2,batch_size=4"):
        with pytest.MonkeyPatch.context() as offline:  # lm-eval asks the Hub for the model's tokenizer
            offline.setattr(constants, "HF_HUB_OFFLINE", True)
            found = simple_evaluate(
                model="dummy", model_args=f"pretrained=lab/m-1B,{arguments}", tasks=["mine", "alone"],
                task_manager=manager, num_fewshot=0, bootstrap_iters=2,
            )  # fmt: skip
        tracker = EvaluationTracker(output_path=str(folder / "out"))
        tracker.general_config_tracker.log_experiment_args(
            "dummy", found["config"]["model_args"], None, None, False
        )
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        for task, lines in samples.items():
            tracker.save_results_samples(task_name=task, samples=lines)
    return folder / "out"


@pytest.mark.long
def test_what_lm_eval_itself_writes(lm_eval_runs):
    notes = Notes()
    evaluations = read_evaluations(lm_eval_runs, notes=notes)
    assert {e.target.model for e in evaluations} == {"m-1B@step1", "m-1B@step2", "m-1B (peft=me/lora)"}
    assert (
        sum("replaces the older" in note for note in notes) == 4
    )  # three tasks and a group, run a second time
    found = evaluations[0]
    assert found.groups["mine"] == ("mine_a", "mine_b")
    assert {task: result.scores.shots for task, result in found.tasks.items()} == dict.fromkeys(
        found.tasks, 0
    )
    assert chances_of(evaluations, {}, notes) == pytest.approx(dict.fromkeys(found.tasks, 1 / 3))
    assert {task for task, result in found.tasks.items() if result.loss} == {"mine_a", "mine_b", "alone"}


def test_only_models_of_the_family_count_as_left_out(tmp_path):
    sizes = {0.1: 0.3, 0.4: 0.4, 1: 0.5, 3: 0.6, 7: 0.65}
    lines = [f"a{n},{n},{f},{score}" for n, score in sizes.items() for f in ("mine",)]
    lines += ["lacking,,mine,0.5", "b1,1,theirs,0.5", "b2,2,theirs,0.5"]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["model,params_b,family,MMLU", *lines]) + "\n")
    built = build_ruler(path, output=tmp_path / "r", options=RulerOptions(name="mine", family="mine"))
    assert [note for note in built.ruler.notes if "lack" in note] == [
        "1 of 6 models of the family lack a size, training tokens, a task or a loss and are not part of the "
        "ruler: lacking"
    ]


def test_groups_of_results_that_only_indent_their_parts(tmp_path):
    names = {
        "whole": "whole",
        "half": " - half",
        "x": "  - x",
        "y": "  - y",
        "rest": " - rest",
        "alone": "alone",
    }
    content = document(scores={task: {"acc,none": 0.5} for task in names})
    for task, alias in names.items():
        content["results"][task]["alias"] = alias
    del content["group_subtasks"]
    (evaluation,) = read_evaluations(write_results(tmp_path, content))
    assert evaluation.groups == {"whole": ("half", "rest"), "half": ("x", "y")}
