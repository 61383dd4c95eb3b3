"""Memory that runs out in the middle of a pass: half the batch, and the very same record."""

import json
import logging
from functools import partial

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model import loaded as shelf
from sparsity_lab.measure.model.halving import is_out_of_memory
from sparsity_lab.measure.neurons.frequency.run import neurons_command
from sparsity_lab.measure.neurons.predictors.run import predict_command
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings as PredictSettings
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.structure.run import structure_command
from sparsity_lab.measure.neurons.structure.spec import StructureSettings as StructureSettings
from sparsity_lab.measure.neurons.watching import watch_checkpoints
from sparsity_lab.measure.sources.named import texts_of
from sparsity_lab.measure.spec import MeasureSpec, expand

WINDOW = 64
APART = ("provenance", "record_sha256")


@pytest.fixture
def scarce(monkeypatch):
    """Make each loaded model ask for 2^59 bytes in its last layer where a batch has more than `most` windows."""

    def starve(most, after=0):
        passes = {"seen": 0, "refused": 0}

        def ask(module, inputs):
            if inputs[0].shape[1] < WINDOW:  # the short pass that proves the sites
                return
            passes["seen"] += 1
            if inputs[0].shape[0] > most and passes["seen"] > after:
                passes["refused"] += 1
                torch.empty(2**59, dtype=torch.uint8)

        real = shelf.load

        def load(*arguments, **options):
            loaded = real(*arguments, **options)
            loaded.model.model.layers[-1].mlp.register_forward_pre_hook(ask)
            return loaded

        monkeypatch.setattr(shelf, "load", load)
        return passes

    return starve


def record(trained, text, output, **changes):
    spec = MeasureSpec(text=text, tokens=1024, window=WINDOW, batch_size=8, device="cpu", **changes)
    (found,) = measure_checkpoints(spec, expand([str(trained)]), output=output)
    return {key: value for key, value in found.items() if key not in APART}


@pytest.mark.thorough(1)
@pytest.mark.parametrize("rule", [{"knob": 0.1}, {"ppl_increase": 0.05}])
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.long
def test_the_record_is_the_same(trained, source_text, tmp_path, scarce, caplog, rule, after):
    whole = record(trained, source_text, tmp_path / "whole", **rule)
    passes = scarce(most=2, after=after)
    with caplog.at_level(logging.WARNING):
        found = record(trained, source_text, tmp_path / "scarce", **rule)
    assert passes["refused"] == 2
    assert [one.message.split(":")[0] for one in caplog.records if "memory" in one.message] == [
        "batch size 4",
        "batch size 2",
    ]
    assert json.dumps(found) == json.dumps(whole)


def watched(command, trained, text, thresholds, output):
    """The record of a command that watches neurons, but for stamps; the hash of its arrays is in it."""
    watch = NeuronSpec(
        texts_of([f"own={text}"]), tokens=1024, window=WINDOW, batch_size=8, device="cpu", written_tokens=0
    )
    structure = StructureSettings(clusters=4, routed=2, draws=19, permutations=19)
    asked = {
        "neurons": partial(neurons_command, watch),
        "structure": partial(structure_command, watch, structure),
        "predict": partial(predict_command, watch, PredictSettings(ranks=(4,), epochs=1)),
    }[command]
    (found,) = watch_checkpoints(asked([thresholds]), expand([str(trained)]), output=output).records
    return {key: value for key, value in found.body.items() if key not in APART}


@pytest.mark.thorough(1)
@pytest.mark.parametrize("command", ["neurons", "structure", "predict"])
@pytest.mark.long
def test_commands_that_watch_go_on_too(trained, source_text, tmp_path, scarce, command):
    record(trained, source_text, tmp_path / "measured", knob=0.2)
    (thresholds,) = (tmp_path / "measured" / "records").glob("*.json")
    whole = watched(command, trained, source_text, thresholds, tmp_path / "whole")
    passes = scarce(most=2)
    found = watched(command, trained, source_text, thresholds, tmp_path / "scarce")
    assert passes["refused"] == 2
    assert json.dumps(found) == json.dumps(whole)


@pytest.mark.long
def test_too_little_for_one_window_is_a_mistake(trained, source_text, tmp_path, scarce):
    passes = scarce(most=0)
    with pytest.raises(SparsityLabError, match="with one window of 64 tokens at a time") as caught:
        record(trained, source_text, tmp_path / "out", knob=0.1)
    assert "--window" in caught.value.fix
    assert passes["refused"] == 4
    assert not (tmp_path / "out").exists()


def test_other_errors_are_not_taken_for_it(trained, source_text, tmp_path, monkeypatch):
    real = shelf.load

    def load(*arguments, **options):
        loaded = real(*arguments, **options)

        def fail(module, inputs):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        loaded.model.model.layers[-1].mlp.register_forward_pre_hook(fail)
        return loaded

    monkeypatch.setattr(shelf, "load", load)
    with pytest.raises(RuntimeError, match="mat1"):
        record(trained, source_text, tmp_path / "out", knob=0.1)


def test_what_counts_as_it():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**59, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert not is_out_of_memory(ValueError("can't allocate memory"))
