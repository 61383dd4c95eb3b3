"""Configs: grids, names, rules and budgets; every mistake is named."""

import copy
from pathlib import Path

import pytest
import yaml

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config import ladder_config as configs
from sparsity_lab.ladder.config.ladder_config import load_config, parse_config

ROOT = Path(__file__).parents[2]


def changed(content, **sections):
    new = copy.deepcopy(dict(content))
    for name, section in sections.items():
        new[name] = {**new[name], **section} if isinstance(section, dict) else section
    return new


def test_lists_are_axes_and_names_say_what_differs(content):
    new = changed(content, model={"activation": ["relu", "silu"], "hidden_size": [32, 64]})
    ladder = parse_config(new)
    assert [run.name for run in ladder.runs] == ["relu-d32", "silu-d32", "relu-d64", "silu-d64"]
    assert [run.shape.heads for run in ladder.runs] == [2, 2, 4, 4]


def test_names_tell_any_two_runs_apart(content):
    tokens = changed(content, training={"tokens": [4_000, 1_234_567]})
    assert [run.name for run in parse_config(tokens).runs] == ["D0.004M", "D1.235M"]
    decays = changed(content, training={"weight_decay": [0.0, 0.1]})
    assert [run.name for run in parse_config(decays).runs] == ["weight_decay0.0", "weight_decay0.1"]


def test_one_run_takes_the_ladder_s_name(content):
    assert [run.name for run in parse_config(content).runs] == ["tiny"]


def test_entries_of_runs_stand_over_the_common_sections(content):
    runs = [{"model": {"hidden_size": 64, "layers": 1}}, {"training": {"learning_rate": 1e-3}}]
    first, second = parse_config({**content, "runs": runs}).runs
    assert (first.shape.hidden_size, first.shape.layers, first.training.learning_rate) == (64, 1, 3e-3)
    assert (second.shape.hidden_size, second.shape.layers, second.training.learning_rate) == (32, 2, 1e-3)


def test_a_budget_in_multiples_of_the_parameters(content):
    new = changed(content)
    del new["training"]["tokens"]
    new["training"]["tokens_per_parameter"] = [10, 20]
    for run, multiple in zip(parse_config(new).runs, (10, 20), strict=True):
        wanted = multiple * run.shape.params_nonembedding
        assert wanted <= run.training.trained_tokens < wanted + run.training.tokens_per_step


@pytest.mark.parametrize(
    ("fields", "neurons"),
    [({}, 96), ({"gated": False}, 128), ({"intermediate_ratio": 2.5}, 80), ({"intermediate_size": 50}, 50)],
)
def test_the_width_of_the_feed_forward_network(content, fields, neurons):
    new = changed(content)
    del new["model"]["intermediate_size"]
    new["model"].update(fields)
    assert parse_config(new).runs[0].shape.intermediate_size == neurons


@pytest.mark.parametrize(
    ("rule", "rest", "matrices"),
    [("constant", 4e-3, 4e-3), ("inverse-width", 1e-3, 1e-3), ("mup", 4e-3, 1e-3)],
)
def test_learning_rate_rules(content, rule, rest, matrices):
    rate = {"learning_rate": 4e-3, "learning_rate_rule": rule, "base_hidden_size": 8}
    (run,) = parse_config(changed(content, training=rate)).runs
    assert (run.training.learning_rate, run.training.matrix_learning_rate) == pytest.approx((rest, matrices))


def test_numbers_that_yaml_reads_as_words_are_numbers(content):
    text = yaml.safe_dump(content) + "seed: 1\n"
    text = text.replace("tokens: 4000\n", "tokens: 4e3\n  learning_rate: 2e-3\n")
    (run,) = parse_config(yaml.safe_load(text)).runs
    assert (run.training.tokens, run.training.learning_rate) == (4_000, 2e-3)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"hiden_size": 3}}, "Did you mean 'hidden_size'?"),
        ({"modle": {}}, "Did you mean 'model'?"),
        ({"training": {"schedule": "wds"}}, "Did you mean 'wsd'?"),
        ({"training": {"tokens": 40.5}}, "`training.tokens` is 40.5. It must be a whole number from 1 to"),
        ({"training": {"tokens": True}}, "It must be a whole number"),
        ({"training": {"learning_rate": "fast"}}, "It must be a number"),
        ({"training": {"learning_rate": -1.0}}, "It must be a number above 0"),
        ({"training": {"learning_rate": float("nan")}}, "It must be a number above 0"),
        ({"training": {"warmup_steps": 10_000}}, "does not fit"),
        ({"training": {"tokens_per_parameter": 3}}, "either tokens or tokens_per_parameter"),
        ({"training": {"learning_rate_rule": "mup"}}, "needs base_hidden_size"),
        ({"training": {"learning_rate_rule": "mu"}}, "Did you mean 'mup'?"),
        ({"training": {"batch_size": 0}}, "`training.batch_size` is 0"),
        ({"model": {"head_dim": 12}}, "do not divide the hidden_size 32"),
        ({"model": {"heads": 2}}, "either heads or head_dim"),
        ({"model": {"intermediate_ratio": 2.5}}, "either intermediate_size or intermediate_ratio"),
        ({"model": {"activation": []}}, "empty list"),
        ({"model": {"positions": 16}}, "longer than the model's 16 positions"),
        ({"data": {"corpus": "python"}}, "one of corpus, files and dataset"),
        ({"data": {"validation_share": 0.9}}, "above 0 and below 0.5"),
        ({"seed": -1}, "from 0 to 4,294,967,295"),
        ({"runs": []}, "must be a list"),
        ({"runs": [{"data": {}}]}, "no key of an entry of runs named 'data'"),
        ({"runs": [{}, {}]}, "same name"),
        ({"model": 7}, "must be a mapping"),
    ],
)
def test_mistakes_are_named(content, sections, words):
    new = {**changed(content, **{k: v for k, v in sections.items() if k in content and isinstance(v, dict)})}
    new.update({k: v for k, v in sections.items() if k not in content or not isinstance(v, dict)})
    with pytest.raises(SparsityLabError) as caught:
        parse_config(new)
    assert words in caught.value.paragraph()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tokens: 4000", "tokens: many", "training.tokens"),
        ("layers: 2", "leyers: 2", "model.leyers"),
        ("layers: 2", "layers: []", "model.layers"),
        ("hidden_size: 32", "gated: true", "model"),
        ("model:", "modle:", "modle"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(content, tmp_path, old, new, line):
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump(content).replace(old, new))
    key = line.rpartition(".")[2]
    number = next(i for i, row in enumerate(path.read_text().splitlines(), 1) if row.strip().startswith(key))
    with pytest.raises(SparsityLabError, match=rf"odd\.yaml, line {number}: "):
        load_config(path)


@pytest.mark.parametrize("text", ["model: [", "- 1\n- 2\n", ""])
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(SparsityLabError, match=r"odd\.yaml"):
        load_config(path)


def test_unknown_configs_are_answered_with_the_nearest():
    with pytest.raises(SparsityLabError, match="Did you mean 'demo'"):
        load_config("dmo")
    with pytest.raises(SparsityLabError, match="no config file"):
        load_config("nowhere/x.yaml")


@pytest.mark.parametrize("name", configs.bundled())
def test_every_bundled_config_is_read_and_stands_in_the_repository_s_folder(name):
    assert load_config(name).name == name
    in_repository = ROOT / "configs" / f"{name}.yaml"
    assert in_repository.read_bytes() == (configs.FOLDER / f"{name}.yaml").read_bytes()


def test_the_demo_is_what_its_comments_say():
    ladder = load_config("demo")
    assert [run.name for run in ladder.runs] == ["relu", "silu"]
    for run in ladder.runs:
        assert run.shape.params_total == 221_760
        assert run.training.checkpoints == 10


def test_another_corpus_stands_over_the_config_s(tiny):
    assert tiny.with_corpus("python").data.files == ()
    with pytest.raises(SparsityLabError, match="Did you mean 'python'"):
        tiny.with_corpus("pyton")


@pytest.mark.parametrize("name", [None, [], [1], {}, float("nan"), 1.5, False, "", "a/b", "..", "con"])
def test_what_is_no_name_of_a_folder_is_refused(content, name):
    with pytest.raises(SparsityLabError, match="is not the name of a folder"):
        parse_config({**content, "name": name})
    assert parse_config({**content, "name": 2024}).name == "2024"
