"""A study's sections: what they default to, and that they are no part of what a training run is."""

import pytest

from sparsity_lab.cli.stages import measurements
from sparsity_lab.cli.study import _lines
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.ladder_config import bundled, load_config, parse_config
from sparsity_lab.ladder.study.plan import STAGES, Study, standing
from sparsity_lab.ladder.study.study_config import load_study, parse_study
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.training import IDENTITY, train_run


@pytest.fixture
def content_of_a_study(content):
    return {**content, "training": {**content["training"], "checkpoints": 6}}


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_config_is_a_study_of_the_same_ladder(name):
    study = load_study(name)
    assert study.ladder == load_config(name)
    assert all(len(checkpoint_steps(run.training)) >= study.measure.stabilise for run in study.ladder.runs)


def test_how_checkpoints_are_measured_is_no_part_of_a_run(content_of_a_study):
    plain = parse_config(content_of_a_study)
    measured = {
        **content_of_a_study,
        "measure": {"tokens": 1_000, "fixed_cett": [0.05, 0.2]},
        "fit": {"drop": 0},
    }
    assert parse_config(measured) == plain
    assert parse_study(measured).ladder.as_dict() == plain.as_dict()


def test_both_rules_are_always_measured_and_each_fixed_cett_besides(content_of_a_study, tmp_path):
    made = parse_study({**content_of_a_study, "measure": {"fixed_cett": [0.05, 0.2]}})
    found = {
        name: options.spec() for name, options in measurements(Study(made, "tiny.yaml", tmp_path)).items()
    }
    assert list(found) == ["rules", "cett-0.05", "cett-0.2"]
    assert found["rules"].stabilise_last == 5
    assert (found["cett-0.05"].knob, found["cett-0.05"].stabilise_last) == (0.05, None)
    assert {spec.window for spec in found.values()} == {32}
    assert parse_study(content_of_a_study).measure.knobs == (0.1,)
    assert parse_study({**content_of_a_study, "measure": {"criterion": "fat"}}).measure.knobs == ()


def test_every_stage_has_commands(content_of_a_study, tmp_path):
    study = Study(parse_study(content_of_a_study), "tiny.yaml", tmp_path)
    for stage in STAGES:
        lines = _lines(study, stage)
        assert lines
        assert all(line.startswith("sparsity-lab ") and str(tmp_path) in line for line in lines)


@pytest.mark.long
def test_standing_counts_what_is_there_and_refuses_another_run(content_of_a_study, tiny_data, tmp_path):
    study = Study(parse_study(content_of_a_study), "tiny.yaml", tmp_path)
    (run,) = study.config.ladder.runs
    (before,) = standing(study)
    assert (before.trained, before.tokens_left, before.cells) == (False, run.training.trained_tokens, 18)
    train_run(run, data=tiny_data, output=study.run_folders[0])
    (after,) = standing(study)
    assert (after.trained, after.tokens_left, after.measured) == (True, 0, 0)
    identity = study.run_folders[0] / IDENTITY
    identity.write_text(identity.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))
    with pytest.raises(SparsityLabError, match="run of another configuration"):
        standing(study)
