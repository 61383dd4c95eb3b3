"""Numbers of an independent slow implementation on real trained weights, where they are at hand."""

import json

import pytest
import torch

from sparsity_lab.measure.api import measure
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.windows import encode
from sparsity_lab.measure.sources.texts import read_text
from tests.at_hand import at_hand
from tests.command import run

GOLDEN = ("stories260K_8192", "relu-2m_4096")
POINTS = range(4)


@pytest.fixture(scope="module", params=GOLDEN)
def golden(request):
    expected = json.loads(at_hand(f"golden/{request.param}.json").read_text(encoding="utf-8"))
    source = Source(str(at_hand(f"models/{expected['model']}")))
    text = read_text(at_hand(f"text/{expected['text']}"), tokens=expected["tokens"])
    ids = encode(load_tokenizer(source), text, tokens=expected["tokens"])
    return expected, load_model(source, dtype=torch.float32, device="cpu"), ids


def assert_meets(point, *, thresholds, activation_ratio, per_layer, ppl_ratio):
    assert thresholds == pytest.approx(point["thresholds"], rel=0.002)
    assert activation_ratio == pytest.approx(point["activation_ratio"], abs=0.0005)
    assert per_layer == pytest.approx(point["activation_per_layer"], abs=0.001)
    assert ppl_ratio == pytest.approx(point["ppl_ratio"], abs=0.001)


@pytest.mark.thorough(3)
@pytest.mark.parametrize("number", POINTS)
def test_the_python_function_meets_the_golden_numbers(golden, number):
    expected, model, ids = golden
    point = expected["points"][number]
    found = measure(model, ids, knob=point["cett"], window=expected["window"])
    assert_meets(
        point,
        thresholds=found.thresholds,
        activation_ratio=found.activation_ratio,
        per_layer=found.sparse.ratio_per_layer(found.sizes).tolist(),
        ppl_ratio=found.ppl_ratio,
    )
    assert found.dense.mean_loss_nats() == pytest.approx(expected["loss_dense"], abs=1e-5)
    assert found.sparse.mean_loss_nats() == pytest.approx(point["loss_sparse"], abs=5e-4)
    assert found.nonzero_ratio == pytest.approx(expected["nonzero"], abs=1e-5)
    assert found.errors.loss_delta_nats == pytest.approx(point["se_delta_nats"], rel=0.5)


def test_every_golden_point_is_tested(golden):
    assert len(golden[0]["points"]) == len(POINTS)


def test_the_command_line_meets_the_golden_numbers(tmp_path):
    done = run(
        "--quiet", "measure", at_hand("models/stories260K"), "--text", at_hand("text/stories260K_selfgen.txt"),
        "--tokens", 8192, "--window", 256, "--sample", "head", "--no-bos", "--dtype", "float32", "--knob", 0.1,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (path,) = (tmp_path / "out" / "records").iterdir()
    record = json.loads(path.read_text(encoding="utf-8"))
    expected = json.loads(at_hand("golden/stories260K_8192.json").read_text(encoding="utf-8"))
    (point,) = [p for p in expected["points"] if p["cett"] == 0.1]
    assert_meets(
        point,
        thresholds=record["thresholds"],
        activation_ratio=record["activation_ratio"],
        per_layer=record["activation_ratio_per_layer"],
        ppl_ratio=record["ppl_ratio"],
    )
    assert (record["tokens"], record["window"], record["bos"]) == (8192, 256, False)
    assert record["provenance"]["dtype"] == "float32"


@pytest.mark.thorough(1)  # a processor may have to emulate bfloat16
@pytest.mark.parametrize("number", [1, 3])
def test_bfloat16_is_near_float32(golden, number):
    expected, model, ids = golden
    point = expected["points"][number]
    rounded = type(model)(model.config).to(torch.bfloat16).eval()
    rounded.load_state_dict(model.state_dict())
    found = measure(rounded, ids, knob=point["cett"], window=expected["window"])
    assert found.activation_ratio == pytest.approx(point["activation_ratio"], abs=0.003)
