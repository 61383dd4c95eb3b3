"""The table of names against lm-eval's own task files, and one benchmark under each of its names."""

import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.choice import family_of_choice
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped, write_ruler
from sparsity_lab.fitting.density.rulers.one_step import family_ruler
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.scores.benchmarks import (
    UnknownChanceError,
    benchmark,
    chance_of,
    key,
    known,
    leaves,
    lm_eval_groups,
    same,
    without_parts,
)
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore

pytestmark = pytest.mark.usefixtures("unrendered")

ROWS = {row.name: row for row in known().values()}
LM_EVAL_NAMES = {
    "MMLU": "mmlu", "ARC-C": "arc_challenge", "HellaSwag": "hellaswag", "Winograd": "winogrande",
    "TruthfulQA": "truthfulqa_mc2", "GSM8K": "gsm8k", "HumanEval": "humaneval", "XWinograd": "xwinograd",
    "csqa": "commonsense_qa", "socialiqa": "social_iqa", "BBH": "bbh", "MATH": "minerva_math", "MBPP": "mbpp",
}  # fmt: skip
# Benchmarks of reports and leaderboards, which no task of lm-eval is.
OF_REPORTS = {
    "EvalPlus", "ARC MC", "MMLU (cloze)", "MMLU-Pro (normalised)", "BBH (normalised)", "GPQA (normalised)",
}  # fmt: skip
# A name of a task, a group or a tag, alone or in a list.
SAID = re.compile(r"^[ \t]*(?:- *)?(?:task:|group:|tag:|-)[ \t]*[\"']?([\w.+-]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def lm_eval_tasks():
    """lm-eval's own task files, as it reads them: of its 14,000 those in folders that say a name of ours."""
    pytest.importorskip("lm_eval")
    from lm_eval import tasks

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    names = {name for row in ROWS.values() for name in (row.name, *row.names)}
    names |= {name for group, of in lm_eval_groups().items() for name in (group, *of)}
    root, folders = Path(tasks.__file__).parent, set()
    for path in root.rglob("*.yaml"):
        folder = root / path.relative_to(root).parts[0]
        if folder not in folders and not names.isdisjoint(SAID.findall(path.read_text(encoding="utf-8"))):
            folders.add(folder)
    manager = tasks.TaskManager(include_path=[str(path) for path in sorted(folders)], include_defaults=False)
    return {name: task for name, task in manager.task_index.items() if task.yaml_path is not None}


def configuration(index, name):
    """A task's file, or of a group the file of one of its tasks."""
    from lm_eval.tasks._yaml_loader import load_yaml

    while name in lm_eval_groups():
        name = lm_eval_groups()[name][0]
    return load_yaml(index[name].yaml_path, resolve_func=False)


def names_in_lm_eval(row, index):
    return [name for name in (row.name, *row.names) if name in index]


@pytest.mark.parametrize(
    "row", [ROWS[name] for name in ROWS if name not in OF_REPORTS], ids=lambda row: row.name
)
@pytest.mark.long
def test_the_table_says_what_lm_evals_files_say(row, lm_eval_tasks):
    names = names_in_lm_eval(row, lm_eval_tasks)
    assert names
    for name in names:
        config = configuration(lm_eval_tasks, name)
        assert (config["output_type"] == "multiple_choice") == (
            row.choices is not None or row.name == "TruthfulQA"
        )
        listed = config.get("doc_to_choice")
        if isinstance(listed, list):
            assert len(listed) == row.choices
        metric, _, kind = row.metric.partition(",")
        own = " ".join(str(entry["metric"]) for entry in config["metric_list"])
        assert metric.replace("pass@1", "pass_at_k") in own
        assert not kind or kind in [entry["name"] for entry in config["filter_list"]]
    if row.choices:
        assert row.chance == pytest.approx(1 / row.choices, abs=5e-4)


@pytest.mark.long
def test_groups_are_those_of_lm_eval(lm_eval_tasks):
    def parts(entry):
        if isinstance(entry, list):
            return {part for one in entry for part in parts(one)}
        if isinstance(entry, dict):
            return parts(entry["task"] if entry.get("group") not in lm_eval_tasks else entry["group"])
        tagged = {name for name, task in lm_eval_tasks.items() if entry in task.tags}
        return tagged or {entry}

    for name, of in lm_eval_groups().items():
        assert parts(lm_eval_tasks[name].cfg["task"]) == set(of), name


@pytest.mark.parametrize("name", [name for row in ROWS.values() for name in (row.name, *row.names)])
def test_every_name_is_the_same_benchmark(name):
    row = benchmark(name)
    for other in (row.name, *row.names, name.upper(), name.replace("_", "-"), name.replace("-", " ")):
        assert benchmark(other) is row
        assert same(name, other)


@pytest.mark.parametrize(("ours", "theirs"), LM_EVAL_NAMES.items())
def test_the_names_of_rulers_and_of_lm_eval(ours, theirs):
    assert same(ours, theirs)
    assert chance_of(ours, {}) == chance_of(theirs, {}) is not None


def test_names_of_different_benchmarks_stay_apart():
    names = list(ROWS)
    for name in names:
        assert [other for other in names if same(name, other)] == [name]
    for name, other in [
        ("mmlu", "mmlu_pro"),
        ("arc_easy", "arc_challenge"),
        ("truthfulqa_mc1", "truthfulqa_mc2"),
    ]:
        assert not same(name, other)


def test_parts_have_the_chance_level_of_their_group():
    assert benchmark("mmlu_formal_logic").chance == benchmark("mmlu_stem").chance == 0.25
    assert benchmark("mmlu_formal_logic").questions is None
    assert benchmark("mmlu_pro_biology").chance == 0.0
    assert benchmark("leaderboard_bbh_navigate").chance is None


def family(task, scores=(0.3, 0.35, 0.45, 0.6)):
    return [Target(f"m-{n}B", "m", n * 1e9, {task: TaskScore(s)}) for n, s in enumerate(scores, start=1)]


def ruler_of(task, **more):
    return family_ruler("m", family(task), tasks=(task,), recipe=RulerRecipe(draws=20, **more))


def test_a_ruler_is_the_same_under_every_name_of_its_task():
    curves = [
        ruler_of(task).curve((task,)) for task in ("ARC-C", "arc_challenge", "ARC-Challenge", "arc challenge")
    ]
    for curve in curves:
        np.testing.assert_array_equal(curve.ln_size(np.array(0.4)), curves[0].ln_size(np.array(0.4)))
        assert curve.chance == 0.25


def test_an_unknown_chance_level_is_asked_for_and_never_zero():
    with pytest.raises(UnknownChanceError, match=r"--chance mine=0\.25"):
        ruler_of("mine").curve(("mine",))
    for level in (0.0, 0.2, 0.5 / 2):
        assert ruler_of("mine", chances={"mine": level}).curve(("mine",)).chance == level
    with pytest.raises(UnknownChanceError):
        family_of_choice("m", family("mine"), tasks=None, all_tasks=("mine",), alone=False,
                         recipe=RulerRecipe())[0].curve(("mine",))  # fmt: skip


def test_a_rulers_file_keeps_its_chance_levels(tmp_path):
    again = read_ruler(write_ruler(ruler_of("mine", chances={"mine": 0.2}), tmp_path / "r.json"))
    assert again.curve(("mine",)).chance == 0.2


def test_an_own_family_is_a_ruler_only_if_named():
    targets = family("MMLU")
    shared = {"tasks": None, "all_tasks": ("MMLU",), "alone": False, "recipe": RulerRecipe()}
    automatic, _ = family_of_choice("auto", targets, **shared)
    assert not {target.model for target in targets} & set(automatic.references)
    named, _ = family_of_choice("m", targets, **shared)
    assert {target.model for target in targets} <= set(named.references)
    with pytest.raises(SparsityLabError, match="family of the targets themselves counts if named"):
        family_of_choice("auto", family("nonsense"), **{**shared, "all_tasks": ("nonsense",)})


@pytest.mark.parametrize("model", ["Qwen2.5-7B", "Qwen/Qwen2.5-7B", "qwen2.5-7b"])
@pytest.mark.parametrize("family", ["Qwen2.5", "qwen2.5"])
def test_a_target_of_a_bundled_family_leaves_that_family_a_ruler(model, family, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(f"model,params_b,family,MMLU\n{model},7.6,{family},74.2\nmine-7B,7,mine,60\n")
    plain = tmp_path / "p.csv"
    plain.write_text("model,params_b,family,MMLU\nmine-7B,7,mine,60\n")
    options = DensityOptions(targets=table, ruler="Qwen2.5", sensitivity=False)
    theirs, mine = measure_density(options=options).densities
    (alone,) = measure_density(options=replace(options, targets=plain)).densities
    assert mine.rho == alone.rho
    assert "reference" in theirs.flags
    assert "reference" not in mine.flags


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_rulers_say_how_each_task_was_scored(name):
    ruler = read_ruler(shipped()[name])
    assert set(ruler.settings) == set(ruler.tasks)
    assert all(setting.metric for setting in ruler.settings.values())
    assert ruler.references


GROUPS = [
    ("mmlu", "mmlu_humanities"), ("mmlu", "mmlu_formal_logic"), ("MMLU", "mmlu_world_religions"),
    ("mmlu_humanities", "mmlu_formal_logic"), ("bbh", "bbh_cot_fewshot_navigate"), ("BBH", "bbh_cot_fewshot_navigate"),
    ("agieval", "agieval_lsat_ar"), ("agieval", "agieval_en"), ("leaderboard", "leaderboard_bbh_navigate"),
    ("minerva_math", "minerva_math_algebra"), ("openllm", "mmlu_anatomy"), ("blimp", "blimp_causative"),
]  # fmt: skip


@pytest.mark.parametrize(("group", "part"), GROUPS)
def test_a_group_counts_and_its_parts_do_not(group, part):
    for tasks in (("arc_easy", group, part), (part, "arc_easy", group)):
        kept, left_out = without_parts(tasks, {})
        assert set(kept) == {"piqa" if "arc_easy" in leaves(group, {}) else "arc_easy", group}
        assert left_out == {part: group}


@pytest.mark.parametrize(("one", "other"), [("mmlu", "mmlu_pro"), ("bbh", "leaderboard_bbh"), ("a", "a_b")])
def test_groups_of_other_questions_stay(one, other):
    tasks = (one, other)
    assert without_parts(tasks, {}) == (tasks, {})


def test_arbitrary_groups_and_circles():
    groups = {"mine": ["a", "inner"], "inner": ["b", "c"], "round": ["there"], "there": ["round"]}
    assert without_parts(("a", "b", "inner", "mine", "d"), groups)[0] == ("mine", "d")
    assert without_parts(("a", "b", "inner"), groups)[0] == ("a", "inner")
    assert len(without_parts(("round", "there"), groups)[0]) in (1, 2)
    assert math.isfinite(len(leaves("round", groups)))
    assert key("A-b c") == key("a_B_C")


LETTERS = st.sampled_from("abcdefgh")


@settings(max_examples=300, deadline=None)
@given(groups=st.dictionaries(LETTERS, st.lists(LETTERS, max_size=4), max_size=6),
       tasks=st.lists(LETTERS, min_size=1, max_size=6, unique=True))  # fmt: skip
@pytest.mark.long
def test_no_question_counts_twice_and_none_is_lost(groups, tasks):
    kept, left_out = without_parts(tasks, groups)
    questions = [leaves(task, groups) for task in kept]
    assert sum(map(len, questions)) == len(frozenset().union(*questions))
    assert set(kept) | set(left_out) == set(tasks)
    for task, holder in left_out.items():
        assert holder in kept
        assert leaves(task, groups) & leaves(holder, groups)
