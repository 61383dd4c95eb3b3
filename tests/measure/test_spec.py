"""Checkpoints from the names on a command line: which are one run's, and in which order."""

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.spec import expand


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty checkpoints of two runs and two models, in the working directory."""
    names = ("a/step-2", "a/step-10", "a/step-9", "b/checkpoint-5", "b/checkpoint-60", "tiny-1m", "tiny-2m",
             "many/x-step1", "many/x-step2", "many/y-step1")  # fmt: skip
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def named(*words):
    return [(found.series, found.source.model) for found in expand(words, gathered=True)]


def test_a_glob_that_the_shell_wrote_out_is_the_quoted_one(folders):
    written_out = named("a/step-10", "a/step-2", "a/step-9")
    assert written_out == named("a/step-*") == named("a")
    assert written_out == [("a", "a/step-2"), ("a", "a/step-9"), ("a", "a/step-10")]


def test_runs_keep_the_place_of_their_first(folders):
    found = named("b/checkpoint-60", "tiny-1m", "a/step-9", "b/checkpoint-5", "a/step-2")
    assert found == [
        ("b", "b/checkpoint-5"), ("b", "b/checkpoint-60"), ("tiny-1m", "tiny-1m"), ("a", "a/step-2"),
        ("a", "a/step-9"),
    ]  # fmt: skip


def test_sizes_and_other_models_are_no_runs(folders):
    """`tiny-1m` tells no step; where names differ in more than numbers, none of them is taken for another's run."""
    assert [series for series, _ in named("tiny-1m", "tiny-2m")] == ["tiny-1m", "tiny-2m"]
    several = ("many/x-step1", "many/x-step2", "many/y-step1")
    assert [series for series, _ in named(*several)] == ["x-step1", "x-step2", "y-step1"]
    assert named("a/step-2") == [("step-2", "a/step-2")]


def test_one_named_twice_is_refused(folders):
    for words in (("a/step-2", "a/step-2"), ("a/step-2", "a/step-9", "a/step-2"), ("a", "a/step-2")):
        with pytest.raises(SparsityLabError, match="a/step-2 is named twice"):
            expand(words, gathered=True)


def test_names_that_records_go_with_keep_their_order(folders):
    """`neurons A B --thresholds OF_A --thresholds OF_B`: the second record is the second name's."""
    found = [checkpoint.source.model for checkpoint in expand(["a/step-10", "a/step-2"])]
    assert found == ["a/step-10", "a/step-2"]


@pytest.mark.parametrize("name", ["run [v2]", "run*", "what?"])
def test_a_folder_of_that_name_is_tried_before_a_pattern(folders, tmp_path, name):
    for step in (1, 2):
        (tmp_path / name / f"step-{step}").mkdir(parents=True)
        (tmp_path / name / f"step-{step}" / "config.json").write_text("{}", encoding="utf-8")
    both = [(name, f"{name}/step-1"), (name, f"{name}/step-2")]
    assert named(name) == named(f"{name}/step-*") == both
    assert named(f"{name}/step-2") == [("step-2", f"{name}/step-2")]


def test_folders_without_a_config_are_told(folders, tmp_path, caplog):
    (tmp_path / "a" / "step-11").mkdir()
    (tmp_path / "a" / "step-12").symlink_to("nowhere")
    with caplog.at_level("INFO"):
        assert len(named("a/step-1*")) == 1
    assert "a/step-11, a/step-12" in caplog.text


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path):
    folder = tmp_path / "run\udce9" / "step-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SparsityLabError):
        expand([str(tmp_path / "run*")])
