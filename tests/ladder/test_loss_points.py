"""The loss log in a logger: its rows at their trained tokens, each once however often the run was taken up again."""

import csv
from contextlib import contextmanager

import numpy as np
import pytest

from sparsity_lab.ladder.ladder import train_ladder
from sparsity_lab.ladder.train.training import train_run
from tests.loggers import reading


@pytest.fixture(scope="module")
def logged(tiny, tmp_path_factory):
    """A ladder of one run, trained with a logger."""
    output = tmp_path_factory.mktemp("ladder")
    (run,) = train_ladder(tiny, output=output, log=["tensorboard"]).runs
    return output, run


def wanted(run):
    """Tag -> points, by the loss log."""
    with (run.folder / "loss.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = ("loss_nats", "learning_rate", "gradient_norm")
    return {
        f"train/{name}": [(int(row["trained_tokens"]), np.float32(row[name])) for row in rows]
        for name in names
    }


@pytest.mark.long
def test_every_row_is_a_point_and_a_finished_run_says_the_same(logged, tiny):
    output, run = logged
    scalars, config = reading.tensorboard(output, run.spec.name)
    assert scalars == wanted(run)
    assert len(scalars["train/loss_nats"]) > 5
    assert f"| name | {run.spec.name} |" in config
    train_ladder(tiny, output=output, log=["tensorboard"])
    assert reading.tensorboard(output, run.spec.name)[0] == wanted(run)


class Interrupted:
    """Progress that is interrupted after so many units, as by Ctrl-C."""

    def __init__(self, most):
        self.left = most

    @contextmanager
    def track(self, label, total):
        yield self.advance

    def advance(self, done):
        self.left -= done
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.long
def test_a_run_taken_up_again_logs_what_was_before_and_each_row_once(logged, tiny_data, tmp_path):
    _, run = logged
    words = {
        "data": tiny_data,
        "output": tmp_path / run.spec.name,
        "log": ["tensorboard"],
        "log_folder": tmp_path,
    }
    with pytest.raises(KeyboardInterrupt):
        train_run(run.spec, progress=Interrupted(3_000), **words)
    before = len(reading.tensorboard(tmp_path, run.spec.name)[0]["train/loss_nats"])
    assert 3 < before < len(wanted(run)["train/loss_nats"])
    assert len(list((tmp_path / run.spec.name).glob("step-*"))) == 3, (
        "it goes on from there, not from the start"
    )
    again = train_run(run.spec, **words)
    assert reading.tensorboard(tmp_path, run.spec.name)[0] == wanted(again)
