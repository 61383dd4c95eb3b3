"""Runs: exact tokens, whole checkpoints, the same end after any kill, level with a plain loop's numbers."""

import csv
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.ladder_config import load_config
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.tokens import TrainingWindows
from sparsity_lab.ladder.ladder import train_ladder
from sparsity_lab.ladder.models import build_model
from sparsity_lab.ladder.train import checkpoints
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.setup import make_trainer
from sparsity_lab.ladder.train.training import train_run


@pytest.fixture(scope="module")
def trained(tiny, tiny_data, tmp_path_factory):
    return train_run(tiny.runs[0], data=tiny_data, output=tmp_path_factory.mktemp("run"))


def losses(run):
    with (run / "loss.csv").open() as stream:
        return {int(row["step"]): float(row["loss_nats"]) for row in csv.DictReader(stream)}


def weights(checkpoint):
    return load_file(checkpoint / "model.safetensors")


def test_checkpoints_are_complete_directories_that_sort(trained):
    training = trained.spec.training
    assert [path.name for path in trained.checkpoints] == [
        f"step-{s:06d}" for s in checkpoint_steps(training)
    ]
    assert sorted(trained.checkpoints) == list(trained.checkpoints)
    for path in trained.checkpoints:
        model = AutoModelForCausalLM.from_pretrained(path)
        assert model.num_parameters() == trained.spec.shape.params_total
        assert len(AutoTokenizer.from_pretrained(path)) == 300
        assert model.config.use_cache
        assert not list(path.glob("*.bin")) + list(path.glob("*.pt*"))
        assert (path / "trainer_state.json").exists()


def test_weights_have_the_mode_of_the_umask(trained, tmp_path):
    """safetensors makes them readable by their owner alone."""
    written = shutil.copytree(trained.checkpoints[0], tmp_path / "checkpoint-1")
    (written / "model.safetensors").chmod(0o600)
    (written / checkpoints.ABOUT).unlink()
    before = os.umask(0o002)
    try:
        final = checkpoints.finalise(written, about={"step": 1, "trained_tokens": 1})
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((final / name).stat().st_mode) for name in ("model.safetensors", checkpoints.ABOUT)}
    assert modes == {0o664}


def test_trained_tokens_are_exact(trained):
    training = trained.spec.training
    for path, step in zip(trained.checkpoints, checkpoint_steps(training), strict=True):
        about = json.loads((path / "sparsity_lab.json").read_text())
        assert about["trained_tokens"] == step * training.batch_size * training.window
        assert json.loads((path / "trainer_state.json").read_text())["global_step"] == step


def test_the_loss_log_has_every_row_and_falls(trained):
    rows = losses(trained.folder)
    plan, every = checkpoint_steps(trained.spec.training), trained.spec.training.log_every_steps
    wanted = {s for s in range(1, plan[-1] + 1) if s in plan or s % every == 0}
    assert set(rows) == wanted
    assert rows[plan[-1]] < rows[min(rows)] - 0.3


def test_nothing_is_printed(tiny, tiny_data, tmp_path, capfd):
    train_run(tiny.runs[0], data=tiny_data, output=tmp_path)
    assert capfd.readouterr() == ("", "")


def plain_loop(spec, data):
    """The same training written out with nothing but torch: the independent reference."""
    training = spec.training
    model = build_model(spec.shape, seed=spec.seed)
    model.set_attn_implementation("eager")
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training.learning_rate, betas=(training.beta1, training.beta2))
    windows = TrainingWindows(
        data.train, window=training.window, count=training.steps * training.batch_size, seed=spec.seed
    )
    found = []
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * min(1.0, step / training.warmup_steps)
        first = step * training.batch_size
        ids = torch.tensor([windows[first + i].tolist() for i in range(training.batch_size)])
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        found.append(loss.item())
    return model, found


def test_the_numbers_are_those_of_a_plain_loop(trained, tiny_data):
    model, found = plain_loop(trained.spec, tiny_data)
    rows = losses(trained.folder)
    before = 0
    for step in sorted(rows):
        assert rows[step] == pytest.approx(sum(found[before:step]) / (step - before), abs=1e-5)
        before = step
    reached = weights(trained.checkpoints[-1])
    for name, wanted in model.state_dict().items():
        if name in reached:
            torch.testing.assert_close(reached[name], wanted, atol=2e-5, rtol=1e-4)


def test_micro_batches_give_the_same_training(trained, tiny_data, with_training, tmp_path):
    split = train_run(with_training(micro_batch_size=2), data=tiny_data, output=tmp_path)
    for step, loss in losses(trained.folder).items():
        assert losses(split.folder)[step] == pytest.approx(loss, abs=1e-5)


def test_a_batch_that_does_not_split_is_refused(tiny_data, with_training, tmp_path):
    with pytest.raises(SparsityLabError, match="does not split"):
        train_run(with_training(micro_batch_size=3), data=tiny_data, output=tmp_path)


def test_wsd_warms_up_stays_and_decays(tiny_data, with_training, tmp_path):
    spec = with_training(schedule="wsd", decay_share=0.25, log_every_steps=1, final_learning_rate_ratio=0.1)
    run = train_run(spec, data=tiny_data, output=tmp_path)
    with (run.folder / "loss.csv").open() as stream:
        rates = {int(row["step"]): float(row["learning_rate"]) for row in csv.DictReader(stream)}
    peak, steps = spec.training.learning_rate, spec.training.steps
    assert rates[3] == pytest.approx(peak * (0.1 + 0.9 * 2 / 4))
    assert {rates[s] for s in range(6, round(0.75 * steps))} == {peak}
    assert 0.1 * peak <= rates[steps] < 0.2 * peak


def test_two_learning_rates_where_the_rule_asks(tiny_data, with_training, tmp_path):
    spec = with_training(matrix_learning_rate=1e-3)
    trainer = make_trainer(spec, plan=checkpoint_steps(spec.training), data=tiny_data, output=tmp_path)
    optimizer = trainer.create_optimizer()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert set(rates) == set(names.values())
    for name, rate in rates.items():
        assert rate == (1e-3 if "proj" in name else 3e-3), name
    decays = {names[id(p)]: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert all(decay == (0.0 if "norm" in name else 0.1) for name, decay in decays.items())


def test_a_finished_run_is_kept_and_another_one_refused(trained, tiny_data, with_training):
    before = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    train_run(trained.spec, data=tiny_data, output=trained.folder)
    assert {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*") if path.is_file()} == {
        path: at for path, at in before.items() if path.is_file()
    }
    with pytest.raises(SparsityLabError, match="another configuration"):
        train_run(with_training(learning_rate=1e-3), data=tiny_data, output=trained.folder)


def test_divergence_is_said(tiny_data, with_training, tmp_path):
    mad = with_training(warmup_steps=0)
    for name, value in {"learning_rate": 1e12, "matrix_learning_rate": 1e12, "clip_norm": 1e30}.items():
        object.__setattr__(mad.training, name, value)  # beyond what a config takes
    with pytest.raises(SparsityLabError, match="not finite"):
        train_run(mad, data=tiny_data, output=tmp_path)


def test_a_half_written_checkpoint_is_not_taken(tiny, tiny_data, trained, tmp_path):
    half = tmp_path / "checkpoint-8"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    run = train_run(tiny.runs[0], data=tiny_data, output=tmp_path)
    assert not half.exists()
    assert [p.name for p in run.checkpoints] == [p.name for p in trained.checkpoints]


def test_a_point_to_resume_from_between_checkpoints_is_replaced(
    tiny, tiny_data, tmp_path, monkeypatch, trained
):
    monkeypatch.setattr("sparsity_lab.ladder.train.trainer._SECONDS_BETWEEN_RESUME_POINTS", -1.0)
    seen = []
    finalise = checkpoints.finalise

    def spy(written, **options):
        final = finalise(written, **options)
        seen.append(sorted(p.name for p in final.parent.glob("resume-*")))
        return final

    monkeypatch.setattr("sparsity_lab.ladder.train.checkpoints.finalise", spy)
    run = train_run(tiny.runs[0], data=tiny_data, output=tmp_path)
    assert max(map(len, seen)) == 1
    assert not list(tmp_path.glob("resume-*"))
    assert losses(run.folder) == losses(trained.folder)


def test_repeating_the_corpus_is_refused_and_the_epochs_said(tiny, tmp_path):
    long = replace(tiny.runs[0], training=replace(tiny.runs[0].training, tokens=2_000_000))
    with pytest.raises(SparsityLabError) as caught:
        train_ladder(replace(tiny, runs=(long,)), output=tmp_path)
    assert "epochs of a corpus" in caught.value.paragraph()
    assert "set max_epochs: " in caught.value.paragraph()
    assert not (tmp_path / "runs").exists()


def test_a_step_that_fails_is_a_bug_whatever_its_words(tiny, tiny_data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a write to a tensor that cannot be written")

    monkeypatch.setattr("sparsity_lab.ladder.train.trainer.OrderedTrainer.training_step", fail)
    with pytest.raises(RuntimeError, match="a write to a tensor"):
        train_run(tiny.runs[0], data=tiny_data, output=tmp_path)


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
from sparsity_lab.cli.main import main
main(["train", sys.argv[1], "--output", sys.argv[2]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100_000, 20_000])
def test_a_disk_that_fills_is_said_and_training_goes_on_when_it_is_freed(content, tmp_path, limit):
    """The first limit stops the optimizer's state in torch's writer, the second the weights in safetensors'."""
    config, output = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(content))
    parsed = load_config(config)
    prepare_data(parsed.data, tokenizer=parsed.tokenizer, output=output / "data", seed=parsed.seed)
    command = [sys.executable, "-c", LIMITED, str(config), str(output), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Error: Cannot write" in done.stderr.splitlines()[-1]
    assert not checkpoints.finished(output / "runs" / "tiny")
    assert len(train_ladder(parsed, output=output).runs[0].checkpoints) == 4


def kill_once_it_has(run, count, config, output):
    """Start the command and SIGKILL it when the run has so many checkpoints; whether it was still going."""
    command = [sys.executable, "-m", "sparsity_lab", "train", str(config), "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(checkpoints.finished(run)) < count:
        time.sleep(0.01)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert alive or process.returncode == 0, errors
    return alive


@pytest.mark.slow
def test_three_kills_change_nothing(content, tiny, tmp_path):
    slow = {**content, "training": {**content["training"], "tokens": 40_000, "checkpoints": 6}}
    config = tmp_path / "slow.yaml"
    config.write_text(yaml.safe_dump(slow))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run = killed / "runs" / "tiny"
    kills = [kill_once_it_has(run, count, config, killed) for count in (1, 3, 5)]
    assert all(kills)
    for output in (whole, killed):
        kill_once_it_has(run, 99, config, output)
    undisturbed = whole / "runs" / "tiny"
    assert list(checkpoints.finished(run)) == list(checkpoints.finished(undisturbed))
    assert losses(run) == pytest.approx(losses(undisturbed), abs=1e-6)
    for mine, its in zip(
        checkpoints.finished(run).values(), checkpoints.finished(undisturbed).values(), strict=True
    ):
        assert all(torch.equal(tensor, weights(its)[name]) for name, tensor in weights(mine).items())
    assert (killed / "checkpoints.csv").read_bytes() == (whole / "checkpoints.csv").read_bytes()
