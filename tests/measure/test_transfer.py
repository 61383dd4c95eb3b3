"""Thresholds found on one text and applied to another: the same mask, counted by a slow loop of its own."""

import csv
import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import measure, measure_under, sparsified
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.sources.named import named_texts
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.texts.transfer import measure_transfer, plan_transfer
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.settings import HEAD
from sparsity_lab.store.records import read_record, seal, write_json

SMALL = {"tokens": 1024, "window": 64}
KNOBS = {"cett": 0.2, "fat": 0.05, "cats": 0.9, "teal-down": 0.9, "per-channel": 0.9, "relu-zero": 0.0}
PER_TOKEN = {"top-k": 0.4, "top-p": 0.9, "max-p": 0.05, "wina-down": 0.4}


@pytest.fixture(scope="module")
def texts(source_text, tmp_path_factory):
    """Two texts: the beginning of the sources, and their end."""
    folder = tmp_path_factory.mktemp("texts")
    content = source_text.read_text(encoding="utf-8")
    for name, part in (("first", content[:30_000]), ("second", content[-30_000:])):
        (folder / f"{name}.txt").write_text(part, encoding="utf-8")
    return folder / "first.txt", folder / "second.txt"


@pytest.fixture(scope="module")
def calibrated(trained, texts, tmp_path_factory):
    """Of each criterion with thresholds, the path of its record on the first text."""
    output = tmp_path_factory.mktemp("calibrated")
    paths = {}
    for criterion, knob in KNOBS.items():
        spec = MeasureSpec(text=texts[0], criterion=criterion, knob=knob, **SMALL)
        (row,) = measure_checkpoints(spec, expand([str(trained)]), output=output)
        paths[criterion] = output / "records" / f"{row['content_key']}.json"
    return paths


def applied(trained, text, path, output, **changed):
    spec = MeasureSpec(
        text=text, criterion=read_calibration(path).criterion, thresholds=path, **{**SMALL, **changed}
    )
    (row,) = measure_checkpoints(spec, expand([str(trained)]), output=output)
    return row


@torch.no_grad()
def slow_run(trained, record, path, text):
    """Kept neurons of each layer and the mean loss, by a forward of plain lines in place of each FFN."""
    from safetensors.torch import load_file

    model = AutoModelForCausalLM.from_pretrained(trained).eval()
    ids = torch.tensor(AutoTokenizer.from_pretrained(trained)(text.read_text(), verbose=False)["input_ids"])
    rows = ids[:1024].view(-1, 64)
    kept = []

    def forward(mlp, layer):
        norms = mlp.down_proj.weight.double().norm(dim=0).float()
        threshold = record["thresholds"][layer]

        def plain(x):
            s, u = torch.relu(mlp.gate_proj(x)), mlp.up_proj(x)
            a = s * u
            weight = load_file(path.with_suffix(".safetensors"))[f"score_weights.{layer}"] if (
                record["criterion"] == "per-channel") else None  # fmt: skip
            score = {
                "cett": a.abs() * norms, "fat": s.abs(), "cats": s.abs(), "relu-zero": s.abs(),
                "teal-down": a.abs(), "per-channel": s.abs() if weight is None else s.abs() * weight,
            }[record["criterion"]]  # fmt: skip
            mask = (score > threshold) & (a != 0)
            kept.append((layer, int(mask.sum())))
            return mlp.down_proj(torch.where(mask, a, 0.0))

        return plain

    for layer, block in enumerate(model.model.layers):
        block.mlp.forward = forward(block.mlp, layer)
    losses = [model(input_ids=row[None], labels=row[None]).loss.item() for row in rows]
    active = [sum(count for at, count in kept if at == layer) for layer in range(2)]
    return [count / (rows.numel() * 48) for count in active], sum(losses) / len(losses)


@pytest.mark.thorough
@pytest.mark.parametrize("criterion", KNOBS)
@pytest.mark.long
def test_thresholds_on_another_text_are_counted_as_a_slow_loop_counts(
    trained, texts, calibrated, tmp_path, criterion
):
    path = calibrated[criterion]
    record = read_record(path)
    assert all(value > 0 for value in record["thresholds"]) or criterion == "relu-zero"
    row = applied(trained, texts[1], path, tmp_path, sample=HEAD)
    per_layer, loss = slow_run(trained, record, path, texts[1])
    assert row["activation_ratio_per_layer"] == pytest.approx(per_layer, abs=1e-9)
    assert row["loss_sparse_nats"] == pytest.approx(loss, abs=2e-6)
    assert row["thresholds"] == record["thresholds"]
    assert (row["rule"], row["knob"], row["criterion"]) == ("thresholds", KNOBS[criterion], criterion)
    assert row["calibrated_on"] == {key: record[key] for key in ("content_key", "text_sha256")}
    assert row["text_sha256"] != record["text_sha256"]
    assert row["forward_passes"] == 2
    assert row["loss_delta_se_nats"] > 0 or criterion == "relu-zero"


@pytest.mark.parametrize("criterion", KNOBS)
@pytest.mark.long
def test_on_their_own_text_thresholds_give_their_own_numbers(trained, texts, calibrated, tmp_path, criterion):
    record = read_record(calibrated[criterion])
    row = applied(trained, texts[0], calibrated[criterion], tmp_path)
    same = (
        "activation_ratio",
        "activation_ratio_per_layer",
        "loss_dense_nats",
        "loss_sparse_nats",
        "nonzero_ratio",
    )
    assert {key: row[key] for key in same} == {key: record[key] for key in same}
    assert row["content_key"] != record["content_key"]


@pytest.mark.parametrize("criterion", ["cett", "per-channel", "cats"])
@pytest.mark.long
def test_any_code_can_run_under_a_record(trained, texts, calibrated, criterion):
    model = AutoModelForCausalLM.from_pretrained(trained).eval()
    path = calibrated[criterion]
    _, loss = slow_run(trained, read_record(path), path, texts[1])
    ids = torch.tensor(
        AutoTokenizer.from_pretrained(trained)(texts[1].read_text(), verbose=False)["input_ids"]
    )
    rows = ids[:1024].view(-1, 64)
    with torch.no_grad(), sparsified(model, path):
        losses = [model(input_ids=row[None], labels=row[None]).loss.item() for row in rows]
    assert sum(losses) / len(losses) == pytest.approx(loss, abs=2e-6)
    found = measure_under(model, ids[:1024], path, window=64)
    assert found.sparse.mean_loss_nats() == pytest.approx(loss, abs=2e-6)
    live = measure(model, ids[:1024], criterion=criterion, knob=KNOBS[criterion], window=64)
    again = measure_under(model, ids[:1024], live, window=64)
    assert again.activation_ratio == live.activation_ratio


def test_a_criterion_has_a_threshold_score_where_it_has_thresholds(trained, texts, tmp_path):
    assert {*KNOBS, *PER_TOKEN} == set(registry.names("criteria"))
    for criterion, knob in {**KNOBS, **PER_TOKEN}.items():
        assert hasattr(registry.load("criteria", criterion), "threshold_score") == (criterion in KNOBS)
        if criterion in PER_TOKEN:
            spec = MeasureSpec(text=texts[0], criterion=criterion, knob=knob, **SMALL)
            (row,) = measure_checkpoints(spec, expand([str(trained)]), output=tmp_path)
            with pytest.raises(
                SparsityLabError, match=f"--criterion {criterion} --knob {knob}: it does the same"
            ):
                read_calibration(tmp_path / "records" / f"{row['content_key']}.json")


def test_thresholds_carried_twice_are_still_those_of_the_first_text(trained, texts, calibrated, tmp_path):
    for criterion in ("cett", "per-channel"):
        row = applied(trained, texts[1], calibrated[criterion], tmp_path)
        back = applied(trained, texts[0], tmp_path / "records" / f"{row['content_key']}.json", tmp_path)
        assert back["calibrated_on"] == row["calibrated_on"]
        assert back["activation_ratio"] == read_record(calibrated[criterion])["activation_ratio"]


def test_a_missing_or_changed_file_of_weights_is_told(calibrated, tmp_path):
    path = shutil.copy(calibrated["per-channel"], tmp_path / "record.json")
    with pytest.raises(SparsityLabError, match=r"Take it from a copy, or measure again"):
        read_calibration(path)
    path.with_suffix(".safetensors").write_bytes(b"other")
    with pytest.raises(SparsityLabError, match="is not the file its record speaks of"):
        read_calibration(path)
    record = json.loads(path.read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained  # never reached: the record is refused first
    with (
        pytest.raises(SparsityLabError, match="does not come with the weights of its score"),
        sparsified(model, record),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"intermediate_size": 50}, "of a model with F = 50, this one has F = 48"),
        ({"activation_function": "silu"}, "of a model with activation function = silu, this one has"),
        ({"architecture": "gpt2"}, "of a model with architecture = gpt2, this one has architecture = llama"),
        ({"hidden_size": 64}, "hidden size d = 64, this one has hidden size d = 32"),
        ({"thresholds": [0.1, 0.2, 0.3]}, "3 thresholds for a model of 2 FFN layers"),
        ({"thresholds": [0.1, -0.2]}, "The threshold of layer 1 is -0.2"),
        ({"thresholds": None}, "holds no thresholds"),
        ({"criterion": "top-k"}, "a criterion that cannot apply them"),
        ({"criterion": "nothing"}, "There is no criterion named 'nothing'"),
    ],
    ids=str,
)  # fmt: skip
def test_thresholds_of_another_model_are_refused(trained, texts, calibrated, tmp_path, change, told):
    record = json.loads(calibrated["cett"].read_text(encoding="utf-8"))
    path = tmp_path / "record.json"
    write_json(path, seal({**record, **change}))
    with pytest.raises(SparsityLabError, match=told):
        applied(trained, texts[1], path, tmp_path / "out")
    assert not (tmp_path / "out" / "table.csv").exists()


def test_the_matrix_of_two_texts_and_its_resumption(trained, texts, tmp_path):
    spec = MeasureSpec(text=texts[0], ppl_increase=0.02, criterion="per-channel", **SMALL)
    models, output = expand([str(trained)]), tmp_path / "out"
    named = named_texts(texts[0], [f"end={texts[1]}"])
    assert [text.name for text in named] == ["first", "end"]
    found = plan_transfer(spec, models, texts=named, output=output)
    assert (found.cells, found.done, output.exists()) == (6, 0, False)
    rows = measure_transfer(spec, models, texts=named, output=output)
    pairs = [(row["calibrated_on"], row["measured_on"]) for row in rows]
    assert pairs == [("first", "first"), ("first", "end"), ("end", "first"), ("end", "end")]
    for own in (rows[0], rows[3]):
        record = read_record(output / "records" / f"{own['calibration_key']}.json")
        assert own["activation_ratio"] == record["activation_ratio"]
        assert own["ppl_ratio"] == record["ppl_ratio"]
        assert own["ppl_ratio_se"] == pytest.approx(own["ppl_ratio"] * own["loss_delta_se_nats"])
    assert rows[1]["thresholds"] == rows[0]["thresholds"] != rows[3]["thresholds"]
    table = (output / "transfer.csv").read_bytes()
    assert [row["measured_on"] for row in csv.DictReader(table.decode().splitlines())] == [
        on for _, on in pairs
    ]
    said = (output / "transfer.md").read_text(encoding="utf-8")
    assert "tiny: per-channel at PPL-2%" in said
    assert f"{rows[1]['activation_ratio']:.4f} ± {rows[1]['activation_ratio_se']:.4f}" in said
    records = sorted((output / "records").glob("*.json"))
    assert len(records) == 6
    lost = output / "records" / f"{rows[2]['content_key']}.json"
    times = {path: path.stat().st_mtime_ns for path in records if path != lost}
    lost.unlink()
    assert plan_transfer(spec, models, texts=named, output=output).done == 5
    measure_transfer(spec, models, texts=named, output=output)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (output / "transfer.csv").read_bytes() == table
