"""Checkpoints stand at equal ratios of tokens; estimates follow from the shapes."""

import numpy as np
import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.ladder_config import load_config
from sparsity_lab.ladder.config.spec import TrainingSpec
from sparsity_lab.ladder.estimate import (
    LadderEstimate,
    flops_per_token,
    refuse_without_space,
    seconds_per_token,
)
from sparsity_lab.ladder.models import build_model
from sparsity_lab.ladder.train.schedule import checkpoint_steps


def test_checkpoints_are_log_spaced_and_end_at_the_end():
    training = load_config("demo").runs[0].training
    steps = np.array(checkpoint_steps(training))
    assert steps[-1] == training.steps
    assert steps[0] == round(training.first_checkpoint_tokens / 4096)
    ratios = steps[1:] / steps[:-1]
    assert np.ptp(np.log(ratios)) < 2 / steps[0]  # equal but for rounding to whole steps


def test_one_checkpoint_is_the_last_step():
    training = TrainingSpec(tokens=40_960, batch_size=32, window=128, warmup_steps=1, checkpoints=1)
    assert checkpoint_steps(training) == (10,)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"first_checkpoint_tokens": 50_000}, "not before the end"),
        ({"first_checkpoint_tokens": 20_000, "checkpoints": 9}, "fall together"),
    ],
)
def test_impossible_plans_are_refused(fields, words):
    training = TrainingSpec(tokens=40_960, warmup_steps=1, **fields)
    with pytest.raises(SparsityLabError, match=words):
        checkpoint_steps(training)


@pytest.mark.parametrize("gated", [True, False])
def test_flops_are_those_of_the_real_products(tiny, gated):
    """torch's counter over forward and backward is the independent count."""
    from dataclasses import replace

    from torch.utils.flop_counter import FlopCounterMode

    shape = replace(tiny.runs[0].shape, gated=gated)
    model = build_model(shape, seed=0)
    model.set_attn_implementation("eager")
    ids = torch.zeros(2, 32, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    assert flops_per_token(shape, window=32) == pytest.approx(counter.get_total_flops() / 64, rel=0.03)


def test_the_estimate_adds_up(tiny):
    estimate = LadderEstimate.of(tiny)
    assert estimate.totals["tokens"] == sum(run.training.trained_tokens for run in tiny.runs)
    assert estimate.disk_bytes > 4 * tiny.runs[0].shape.params_total * 4
    assert seconds_per_token(tiny.runs[0]) > 0


def test_no_space_is_said_before_anything_starts(tmp_path):
    with pytest.raises(SparsityLabError, match="GB free"):
        refuse_without_space(10**18, tmp_path)
    refuse_without_space(1, tmp_path)
