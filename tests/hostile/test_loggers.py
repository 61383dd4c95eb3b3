"""`--log` of `measure` and `train`: unknown, repeated, not installed, idle; and runs a broken logger leaves alone."""

import logging

import pytest

from sparsity_lab.cli.main import main
from sparsity_lab.loggers import _guard
from sparsity_lab.loggers import tensorboard as tensorboard_logger
from tests.hostile.battery import Case, battery, run_case, snapshot

pytestmark = pytest.mark.usefixtures("unrendered")

MEASURE = "measure {trained} --text {text} --tokens 512 --window 64 --knob 0.1"


def holding(content):
    """bad.yaml with this content."""
    return lambda world: world.write("bad.yaml", content)


REFUSED = battery(
    Case("measure to nobody", MEASURE + " --log tensorbord", "'tensorbord'", "Did you mean 'tensorboard'"),
    Case("measure to nothing", MEASURE + " --log ''", "''", "Known: tensorboard, wandb"),
    Case("measure to one known and one not", MEASURE + " --log wandb --log mlflow", "'mlflow'", "Known"),
    Case("measure to two in one word", MEASURE + " --log tensorboard,wandb", "'tensorboard,wandb'", "Known"),
    Case("measure to a logger of the room's own", MEASURE + " --log _guard", "'_guard'", "Known"),
    Case("measure to a path", MEASURE + " --log ../../records", "'../../records'", "Known"),
    Case("measure to a logger in capitals", MEASURE + " --log TensorBoard", "'TensorBoard'", "'tensorboard'"),
    Case("measure to a logger without its name", MEASURE + " --log", "--log", output=False),
    Case("measure to a config's nobody", MEASURE + " --config bad.yaml", "'tensorbord'", "tensorboard",
         holding("log: [tensorbord]\n")),
    Case("measure to a config's number", MEASURE + " --config bad.yaml", "'5'", "Known", holding("log: [5]\n")),
    Case("measure to a config's mapping", MEASURE + " --config bad.yaml", "{'wandb': True}", "Known", holding(
        "log: {wandb: true}\n")),
    Case("train to nobody", "train demo --log wanbd", "'wanbd'", "Did you mean 'wandb'"),
    Case("train to nobody, dry", "train demo --dry-run --log wanbd", "'wanbd'", "Did you mean 'wandb'"),
    *(Case(f"{command} to a logger", f"{command} {{trained}} --thresholds {{record}} --text {{text}} --log wanbd",
           "'wanbd'", "Did you mean 'wandb'") for command in ("neurons", "structure", "predict")),
)  # fmt: skip


@REFUSED
def test_refused(case, world, capfd):
    run_case(case, world, capfd)


@pytest.fixture
def logged(world, capfd, caplog, monkeypatch, tmp_path):
    """Run `measure` with such options; it must end well. The one warning that it gave, if any, and its output."""
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(_guard, "NOTED", set())

    def run(*words):
        told = MEASURE.format(trained=world.trained, text=world.text).split()
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*told, *words, "--output", "out"])
        assert not stop.value.code
        assert "Traceback" not in capfd.readouterr().err
        ours = [
            one
            for one in caplog.records
            if one.name.startswith("sparsity_lab") and one.levelno >= logging.WARNING
        ]
        said = "".join(one.getMessage() for one in ours)
        assert len(ours) <= 1, "told of once"
        assert "\n" not in said
        assert len(list((world.folder / "out" / "records").glob("*.json"))) == 1
        assert (world.folder / "out" / "table.md").exists()
        return said, world.folder / "out"

    return run


def test_a_logger_given_twice_logs_once(logged):
    said, output = logged("--log", "tensorboard", "--log", "tensorboard")
    assert not said
    assert len(list((output / "tensorboard").rglob("events.out.*"))) == 1


@pytest.mark.parametrize("command", [MEASURE, "train demo", "study laptop"])
def test_a_logger_that_is_not_installed_is_refused(command, world, monkeypatch, capfd):
    monkeypatch.setattr(tensorboard_logger, "LIBRARY", "tensorboard_is_not_here")
    words = f"{command} --log tensorboard"
    run_case(Case("missing", words, "--log tensorboard", "pip install tensorboard_is_not_here"), world, capfd)


def test_a_folder_of_the_librarys_name_is_not_taken_for_it(world, monkeypatch, capfd):
    monkeypatch.setattr(tensorboard_logger, "LIBRARY", "events_of_yesterday")
    (world.folder / "events_of_yesterday").mkdir()
    monkeypatch.syspath_prepend(str(world.folder))
    words = MEASURE + " --log tensorboard"
    run_case(Case("a folder", words, "--log tensorboard", "pip install events_of_yesterday"), world, capfd)


def test_a_file_where_the_logger_writes_is_told_of_once_and_kept(logged, world):
    (world.folder / "out").mkdir()
    path = world.write("out/tensorboard", "mine")
    said, _ = logged("--log", "tensorboard")
    assert "Logging to tensorboard failed and is left out, the run goes on" in said
    assert path.read_text() == "mine"


def test_a_run_that_is_refused_leaves_nothing_of_a_logger(world, capfd):
    before = snapshot(world.folder)
    words = MEASURE.replace("{text}", "none.txt") + " --log tensorboard --log wandb"
    run_case(Case("no text", words, "none.txt", "UTF-8 file"), world, capfd)
    assert snapshot(world.folder) == before


def test_a_mode_of_nobody_fails_no_run(logged, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    said, _ = logged("--log", "wandb")
    assert "Logging to wandb failed and is left out, the run goes on" in said
