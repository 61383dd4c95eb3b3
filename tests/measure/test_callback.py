"""The Trainer's callback: training is bit for bit the same with it, and its records are measure's own."""

import contextlib
import csv
import logging
import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.callback import MeasureCallback
from sparsity_lab.measure.checkpoint.fingerprints import fingerprint
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.live.live_model import undisturbed
from sparsity_lab.measure.live.live_record import saved_fingerprint
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.store.records import RECORD_KEYS, iter_records
from tests.loggers import reading

SMALL = {"tokens": 1024, "window": 64}


class Pieces(Dataset):
    """Windows of the text."""

    def __init__(self, ids, window=32):
        self.rows = ids[: len(ids) // window * window].reshape(-1, window)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


@pytest.fixture(scope="module")
def pieces(trained, source_text):
    tokenizer = AutoTokenizer.from_pretrained(trained)
    text = source_text.read_text(encoding="utf-8")[:40_000]
    return Pieces(torch.tensor(tokenizer(text, verbose=False)["input_ids"]))


@pytest.fixture
def train(trained, pieces, tmp_path):
    """A real run of the Trainer, shuffled, with dropout: its random numbers matter. Returns the trainer."""

    def run(name, *callbacks, model=None, steps=4, resume=None, tokenizer=True, **settings):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        model = model or AutoModelForCausalLM.from_pretrained(trained, attention_dropout=0.2)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / name), max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-3,
            use_cpu=True, report_to="none", disable_tqdm=True, logging_strategy="no", seed=3,
            **{"save_strategy": "no", **settings},
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=arguments, train_dataset=pieces, callbacks=list(callbacks),
            data_collator=default_data_collator,
            processing_class=AutoTokenizer.from_pretrained(trained) if tokenizer else None,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    return run


def table(output):
    return list(csv.DictReader((output / "table.csv").open(encoding="utf-8")))


def ends_of(trainer):
    """Everything training leaves behind in memory."""
    return (
        {name: weight.clone() for name, weight in trainer.model.state_dict().items()},
        [module.training for module in trainer.model.modules()],
        (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        next(e for e in trainer.state.log_history if "train_loss" in e)["train_loss"],
    )


@pytest.mark.thorough(1)
@pytest.mark.parametrize("settings", [{}, {"bf16": True}], ids=["float32", "autocast"])
@pytest.mark.long
def test_training_is_bit_for_bit_the_same(train, source_text, tmp_path, settings):
    callback = MeasureCallback(
        source_text, output=tmp_path / "out", every_steps=1, knob=0.2, criterion="per-channel", log=["tensorboard"],
        **SMALL,
    )  # fmt: skip
    plain, watched = ends_of(train("plain", **settings)), ends_of(train("watched", callback, **settings))
    assert callback.failures == 0
    assert len(table(tmp_path / "out")) == 4
    for name, weight in plain[0].items():
        assert torch.equal(weight, watched[0][name]), name
    assert plain[1:] == watched[1:]
    assert all(plain[1])


@pytest.mark.thorough(1)
@pytest.mark.parametrize("settings", [{}, {"bf16": True}], ids=["float32", "autocast"])
@pytest.mark.long
def test_records_are_those_of_the_saved_checkpoints(train, source_text, tmp_path, settings, caplog):
    callback = MeasureCallback(
        source_text, output=tmp_path / "out", at_saves=True, ppl_increase=0.02, **SMALL
    )
    train(
        "run", callback, save_strategy="steps", save_steps=2, include_num_input_tokens_seen=True, **settings
    )
    spec = MeasureSpec(text=source_text, ppl_increase=0.02, **SMALL)
    later = measure_checkpoints(spec, expand([str(tmp_path / "run")]), output=tmp_path / "later")
    live = list(iter_records(tmp_path / "out" / "records"))
    live.sort(key=lambda record: record["trained_tokens"])
    assert [record["trained_tokens"] for record in live] == [2 * 4 * 32, 4 * 4 * 32]
    for ours, theirs in zip(live, later, strict=True):
        assert list(ours) == list(RECORD_KEYS)
        assert (ours["weights_from"], theirs["weights_from"]["format"]) == (None, "safetensors")
        apart = {"provenance", "record_sha256", "weights_from"}
        assert {k: v for k, v in ours.items() if k not in apart} == {
            k: v for k, v in theirs.items() if k not in apart
        }
    assert [row["model"].rsplit("/", 1)[1] for row in table(tmp_path / "out")] == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    with caplog.at_level(logging.INFO, logger="sparsity_lab"):
        measure_checkpoints(spec, expand([str(tmp_path / "run")]), output=tmp_path / "out")
    assert "0 cells measured in this run, 2 rows in the table" in caplog.text


@pytest.mark.thorough(1)
@pytest.mark.parametrize("strategy", ["steps", "epoch"])
@pytest.mark.long
def test_steps_that_are_saved_have_the_keys_of_their_checkpoints(
    train, trained, source_text, tmp_path, strategy, pieces, caplog
):
    """The tokenizer is the callback's alone, so the checkpoints hold none."""
    epoch = -(-len(pieces) // 4)
    steps, every = (4, 1) if strategy == "steps" else (epoch, epoch)
    callback = MeasureCallback(
        source_text, output=tmp_path / "out", every_steps=every, knob=0.1, **SMALL,
        tokenizer=AutoTokenizer.from_pretrained(trained),
    )  # fmt: skip
    train("run", callback, steps=steps, tokenizer=False, save_strategy=strategy, save_steps=2)
    spec = MeasureSpec(text=source_text, knob=0.1, **SMALL)
    run = expand([str(tmp_path / "run")], tokenizer=str(trained))
    with caplog.at_level(logging.INFO, logger="sparsity_lab"):
        rows = measure_checkpoints(spec, run, output=tmp_path / "out")
    assert (
        f"0 cells measured in this run, {'2 rows' if strategy == 'steps' else '1 row'} in the table"
        in caplog.text
    )
    assert all(row["weights_sha256"] for row in rows)


def test_a_folder_of_other_weights_does_not_name_a_live_model(trained, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(trained)
    model.save_pretrained(tmp_path / "saved")
    assert saved_fingerprint(model, tmp_path / "saved") == fingerprint(Source(str(tmp_path / "saved")))
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-3
    assert saved_fingerprint(model, tmp_path / "saved") is None
    assert saved_fingerprint(model, tmp_path / "nowhere") is None
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert saved_fingerprint(model.float(), tmp_path / "half") is None


def test_whatever_a_measurement_does_is_put_back(trained):
    model = AutoModelForCausalLM.from_pretrained(trained).train()
    model.model.layers[0].eval()  # frozen by its owner
    model._original_forward = model.forward
    model.forward = wrapper = lambda *words, **named: model._original_forward(*words, **named)
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    modes = [module.training for module in model.modules()]
    with contextlib.suppress(KeyError), undisturbed(model):
        assert not torch.is_grad_enabled()
        assert not any(module.training for module in model.modules())
        assert model.forward is not wrapper
        torch.rand(1), random.random(), np.random.rand()
        raise KeyError
    assert model.forward is wrapper
    assert torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


@pytest.mark.long
def test_a_resumed_run_keeps_its_rows(train, source_text, tmp_path):
    def callback():
        return MeasureCallback(
            source_text, output=tmp_path / "out", every_steps=2, at_saves=True, knob=0.1, tokens_per_step=128,
            log=["tensorboard"], **SMALL,
        )  # fmt: skip

    train("run", callback(), steps=4, save_strategy="steps", save_steps=2)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "records").iterdir()}
    resume = str(tmp_path / "run" / "checkpoint-2")
    train("run", callback(), steps=6, resume=resume, save_strategy="steps", save_steps=2)
    assert [row["trained_tokens"] for row in table(tmp_path / "out")] == ["256", "512", "768"]
    assert {path: path.stat().st_mtime_ns for path in times if path.exists()}.items() <= times.items()
    assert len({row["activation_ratio"] for row in table(tmp_path / "out")}) == 3
    points = reading.tensorboard(tmp_path / "out", "run")[0]["activation_ratio/cett_fixed_0_1"]
    assert points == [
        (int(row["trained_tokens"]), np.float32(row["activation_ratio"])) for row in table(tmp_path / "out")
    ]


def test_a_failure_is_told_once_and_training_goes_on(train, trained, source_text, tmp_path, caplog):
    """A model whose loss is not a number from the first step on."""
    model = AutoModelForCausalLM.from_pretrained(trained)
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    callback = MeasureCallback(source_text, output=tmp_path / "out", every_steps=1, **SMALL)
    with caplog.at_level(logging.INFO, logger="sparsity_lab.measure.callback"):
        trainer = train("run", callback, model=model, steps=3)
    assert trainer.state.global_step == 3
    assert callback.failures == 3
    ours = [record for record in caplog.records if record.name.startswith("sparsity_lab")]
    (warning,) = [record for record in ours if record.levelno >= logging.WARNING]
    assert "at step 1 failed and is left out, training goes on" in warning.getMessage()
    assert "overflows" in warning.getMessage()
    assert all(module.training for module in trainer.model.modules())


def test_an_untrained_model_is_measured_and_flagged(train, trained, source_text, tmp_path):
    """As the checkpoints of its run would be."""
    from transformers import AutoConfig

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(trained))
    callback = MeasureCallback(source_text, output=tmp_path / "out", every_steps=1, knob=0.1, **SMALL)
    train("run", callback, model=model, steps=1)
    assert callback.failures == 0
    assert [row["flags"] for row in table(tmp_path / "out")] == ["untrained"]


def test_what_cannot_work_is_refused_before_the_first_step(train, trained, source_text, tmp_path):
    steps = []

    class Counts(TrainerCallback):
        def on_step_begin(self, *words, **named):
            steps.append(1)

    callback = MeasureCallback(source_text, output=tmp_path / "out", every_steps=1, **SMALL)
    with pytest.raises(SparsityLabError, match=r"no tokenizer to read the text with.*tokenizer=tokenizer"):
        train("run", callback, Counts(), steps=2, tokenizer=False)
    (tmp_path / "text.txt").write_text("def f(): pass\n", encoding="utf-8")
    callback = MeasureCallback(tmp_path / "text.txt", output=tmp_path / "out", every_steps=1, window=64)
    with pytest.raises(SparsityLabError, match="too short for two windows"):
        train("run", callback, Counts(), steps=2)
    assert not steps
    assert not (tmp_path / "out" / "table.csv").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "no time at which to measure"),
        ({"every_steps": 0}, "every_steps is 0"),
        ({"every_steps": 1, "criterion": "cet"}, "Did you mean 'cett'"),
        ({"every_steps": 1, "log": ["tensorbord"]}, "Did you mean 'tensorboard'"),
        ({"every_steps": 1, "knob": 2.0}, "outside its range"),
        ({"every_steps": 1, "knob": 0.1, "ppl_increase": 0.01}, "more than one was given"),
        ({"every_steps": 1, "ppl_increase": -0.01}, "not a positive fraction"),
        ({"every_steps": 1, "activation_ratio": 1.5}, "not between 0 and 1"),
        ({"every_steps": 1, "tokens": 0}, "--tokens is 0"),
        ({"every_steps": 1, "tokens_per_step": 0}, "--tokens-per-step is 0"),
        ({"every_steps": 1, "text": "/nowhere.txt"}, "Cannot read the text"),
        ({"every_steps": 1, "output": "/proc/none"}, "Cannot write to the output"),
    ],
)
def test_wrong_settings_are_refused_when_it_is_made(source_text, tmp_path, settings, told):
    with pytest.raises(SparsityLabError, match=told):
        MeasureCallback(**{"text": source_text, "output": tmp_path / "out", **settings})


def test_a_text_too_short_is_refused_when_it_is_made(trained, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("def f(): pass\n", encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(trained)
    with pytest.raises(SparsityLabError, match="too short for two windows of 64"):
        MeasureCallback(path, output=tmp_path / "out", every_steps=1, tokenizer=tokenizer, window=64)
    assert not (tmp_path / "out").exists()
