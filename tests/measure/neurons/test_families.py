"""Every family of models: the totals of the sparse pass of `measure`, the same counts with and without the cache."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from tiny import CONFIGS, MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.neurons.frequency.decoding import DecodePlan, compare_decoding
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.predictors.api import predict_active
from sparsity_lab.measure.neurons.visitor import neuron_pass
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor, sparse_pass
from sparsity_lab.measure.thresholds.stored import Calibration


def subject_of(model, *, batch_size=2):
    ids = torch.randint(0, 97, (6 * 24,), generator=torch.Generator().manual_seed(0))
    return Subject(model, find_sites(model)[1], cut(ids, window=24, bos_id=0), batch_size)


@pytest.mark.thorough(5)
@pytest.mark.parametrize("model_type", sorted(CONFIGS))
@pytest.mark.long
def test_totals_and_prompts_are_those_of_a_sparse_pass(model_type):
    subject = subject_of(tiny(model_type))
    thresholds = [0.1] * len(subject.sites)
    calibration = Calibration("cett", tuple(thresholds))
    counts = neuron_pass(subject, calibration)
    sparse = sparse_pass(subject, subject.all_rows, visitor=ThresholdVisitor(subject, thresholds), label="")
    layers = ModelLayers.of(subject.sites)
    assert np.array_equal(counts.active(layers.sizes), layers.summed(sparse.active))
    if layers.routers:
        assert np.array_equal(counts.experts.reached, sparse.reached)
    assert 0 < counts.shared.sum() < counts.followed.sum()
    plan = DecodePlan(prompts=6, prompt_tokens=16, written_tokens=8)
    decoded = compare_decoding(subject, calibration, plan, seed=0)
    read = (decoded.prompt + decoded.continuation).sum()
    # Prompts pass apart from what follows: a product of another shape may move a neuron at its threshold.
    assert abs(int(read - sparse.active.sum())) <= 2
    assert (decoded.written > 0).all()


@pytest.mark.parametrize("model_type", sorted(MIXTURES))
def test_predictors_of_mixtures_are_refused(model_type):
    model = tiny(model_type)
    thresholds = [0.1] * len(find_sites(model)[1])
    with pytest.raises(SparsityLabError):
        predict_active(model, torch.arange(96), thresholds=thresholds, window=24)
