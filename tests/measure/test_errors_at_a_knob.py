"""Errors at a fixed knob: thresholds found anew in each replicate, against measurements at other knobs and samples."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.search import engine, noise
from sparsity_lab.measure.search.measurement import KNOB, KNOB_FOUND, THRESHOLDS
from sparsity_lab.measure.search.steps import Runner
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.thresholds.stored import of_measurement
from sparsity_lab.settings import Sampling
from tests.at_hand import at_hand

C = 0.1


@pytest.fixture(scope="module")
def of_sample():
    """The subject of a sample of a corpus, by its seed."""
    torch.set_num_threads(1)
    folder = at_hand("models/relu-2m")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    sites = find_sites(model, architecture_file=None).sites
    reader, text = load_text_tokenizer(Source(str(folder))), open_text(at_hand("text/wikitext2.valid.txt"))
    return lambda seed: Subject(model, sites, sampled(reader, text, Sampling(2048, 64, seed=seed)), 16)


@pytest.fixture(scope="module")
def at_c(of_sample):
    return engine.at_knob(of_sample(0), criterion="cett", knob=C)


@pytest.mark.long
def test_the_slope_of_the_ratio_is_that_between_two_knobs(of_sample, at_c):
    step = 0.1
    low, high = (
        engine.at_knob(of_sample(0), criterion="cett", knob=C * math.exp(side * step)).activation_ratio
        for side in (-1, 1)
    )
    assert at_c.errors.ratio_slope == pytest.approx((high - low) / (2 * step), rel=0.1)


@pytest.mark.long
def test_the_drift_of_a_layer_is_how_its_cett_differs_from_sample_to_sample(of_sample):
    """At thresholds held: CETT of each layer on other samples scatters by what the replicates of one say."""
    runner = Runner(of_sample(0), "cett", 0)
    runner.pilot()
    dense = runner.calibrate_around(C, span=engine.FIXED_SPAN)
    held = runner.bound.thresholds(C)
    said = np.sqrt((runner.bound.drift(C, runner.draws, dense).layers ** 2).mean(axis=0))
    found = []
    for seed in range(1, 13):
        other = Runner(of_sample(seed), "cett", 0)
        other.pilot()
        other.calibrate_around(C, span=engine.FIXED_SPAN)
        curves = other.bound.exact
        shares = curves.between_edges(held)
        found.append((np.log(curves.cett) * shares).sum(axis=1))
    scatter = np.std(found, axis=0, ddof=1)
    assert np.exp(np.mean(np.log(scatter / said))) == pytest.approx(1.0, abs=0.3)


@pytest.mark.long
def test_what_errors_are_at(of_sample, at_c):
    subject = of_sample(0)
    assert at_c.errors.held == KNOB
    assert engine.at_knob(subject, criterion="teal-down", knob=0.5).errors.held == THRESHOLDS
    assert engine.at_knob(subject, criterion="top-k", knob=0.2).errors.held == KNOB
    assert engine.at_ppl_increase(subject, criterion="cett", ppl_increase=0.05).errors.held == KNOB_FOUND
    given = engine.at_thresholds(subject, calibration=of_measurement(at_c))
    assert given.errors.held == THRESHOLDS
    assert given.activation_ratio == at_c.activation_ratio
    assert given.errors.activation_ratio != at_c.errors.activation_ratio


def test_the_components_of_an_error_are_all_of_it(at_c):
    errors = at_c.errors
    assert np.sqrt((errors.ratio_components**2).sum()) == pytest.approx(errors.activation_ratio)
    assert np.sqrt((errors.rise_components**2).sum()) == pytest.approx(errors.loss_delta_nats)
    assert len(errors.ratio_components) == errors.units - 1 == 31
    low, high = at_c.activation_ratio_interval
    assert (high - low) / 2 == pytest.approx(errors.t * errors.activation_ratio)
    assert errors.t == pytest.approx(noise.t_of(32, sample="spread"))
