"""Bytes and speed-ups against numbers worked out by hand, a recount of real weights, and Monte Carlo errors."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.neurons.affinity.found import predictions_of, read_bodies, source_of
from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan, shape_of_words
from sparsity_lab.measure.neurons.affinity.traffic import newly_active, speedup, traffic_rows
from sparsity_lab.measure.neurons.affinity.weights import Weights, weights_at, weights_of
from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.frequency.record import NEURON_KEYS
from sparsity_lab.store import records
from tests.at_hand import at_hand


def body_of(*, ffn, total, ratio=0.25, se=0.01, gated=True, reuse=0.6, reuse_se=0.02):
    """A record of `neurons` of a gated model, as far as it is read here; unions of 8 tokens are 0.5 of all neurons."""
    out = 1 / 3 if gated else 1 / 2
    sides = {"output-side": (1 - out, out), "input-side": (out, 1 - out), "oracle": (0.0, 1.0)}

    def share(active, active_se, name):
        fixed, moving = sides[name]
        return {"value": fixed + moving * active, "se": moving * active_se}

    def chunk(tokens, active):
        touched = {name: share(active, 0.02, name) for name in sides}
        return {
            "layer": "all", "tokens": tokens, "cls": 1 - active if tokens <= 64 else None, "cls_se": 0.02,
            **{f"touched_{n.replace('-', '_')}": t["value"] for n, t in touched.items()},
            **{f"touched_{n.replace('-', '_')}_se": t["se"] for n, t in touched.items()},
        }  # fmt: skip

    return {
        "name": "tiny", "model": "tiny", "revision": None, "text": "words", "tokenizer": "t", "criterion": "cett",
        "thresholds": [0.1, 0.2], "text_sha256": "x",
        "parameter_rows": [
            {"convention": name, "ffn_dense": ffn, "model_dense": total,
             "ffn_share": share(ratio, se, name)["value"], "ffn_share_se": share(ratio, se, name)["se"]}
            for name in sides
        ],
        "layer_rows": [{"layer": "all", "activation_ratio": ratio, "activation_ratio_se": se,
                        "reuse": reuse, "reuse_se": reuse_se}],
        "chunk_rows": [chunk(1, ratio), chunk(8, 0.5), chunk(128, 0.9), {**chunk(8, 0.5), "layer": 0}],
    }  # fmt: skip


def by_convention(rows):
    return {(row["convention"], row["tokens"]): row for row in rows}


def test_bytes_of_a_tiny_llama_by_hand(llama):
    """d 16, F 40, 2 layers, vocabulary 64, head not tied, 2 heads: every weight counted on paper."""
    model = llama(layers=2, hidden=16, neurons=40)
    found = weights_of(model, find_sites(model)[1])
    assert found == Weights(
        input_side=2 * 40 * 2 * 16,  # layers, F, W_g and W_u, d
        output_side=2 * 40 * 16,
        whole=2 * (4 * 16 * 16 + 2 * 16) + 16 + 64 * 16,  # attention, two norms a layer; last norm; head
        head=64 * 16,
        row=16,
        kv=2 * 2 * 16,  # layers, keys and values, d
        total=3840 + 2 * (4 * 16 * 16 + 2 * 16) + 16 + 2 * 64 * 16,
    )
    rows = by_convention(
        traffic_rows(body_of(ffn=3840, total=found.total), found,
                     costs=Costs(bytes_per_weight=2, bytes_per_kv=1, context_tokens=10, predictor_cost=0.05))
    )  # fmt: skip
    rest = 2 * (3152 + 16) + 10 * 64  # whole and one embedding row, at 2 bytes; the cache at 1
    assert found.whole == 3152
    dense = 2 * 3840
    for (convention, tokens), ffn_bytes in {
        ("output-side", 1): 2 * (2560 + 0.25 * 1280),
        ("input-side", 1): 2 * (0.25 * 2560 + 1280),
        ("oracle", 1): 2 * 0.25 * 3840,
        ("assumed-predictor", 1): 2 * (0.25 + 0.05) * 3840,
        ("cached", 1): 2 * 0.25 * 0.4 * 3840,
        ("chunk-output-side", 8): 2 * (2560 + 0.5 * 1280),
        ("chunk-oracle", 8): 2 * 0.5 * 3840,
    }.items():
        row = rows[convention, tokens]
        own_rest = rest + 2 * 16 * (tokens - 1)
        assert row["ffn_dense_bytes"] == dense
        assert row["ffn_bytes"] == pytest.approx(ffn_bytes)
        assert row["ffn_speedup"] == pytest.approx(dense / ffn_bytes)
        assert row["kv_bytes"] == 640
        assert row["model_dense_bytes"] == dense + own_rest
        assert row["model_bytes"] == pytest.approx(ffn_bytes + own_rest)
        assert row["model_speedup"] == pytest.approx((dense + own_rest) / (ffn_bytes + own_rest))
        assert row["model_speedup"] < row["ffn_speedup"]
        assert row["model_share"] == pytest.approx(1 / row["model_speedup"])
        assert row["assumption"]
    assert ("chunk-oracle", 128) not in rows
    assert len(rows) == 3 + 1 + 1 + 3


def test_a_tied_head_is_read_whole_and_its_rows_again():
    """stories260K's tensors counted by name from its file."""
    folder = at_hand("models/stories260K")
    with safe_open(folder / "model.safetensors", "np") as file:
        sizes = {name: int(np.prod(file.get_slice(name).get_shape())) for name in file.keys()}  # noqa: SIM118
        table = file.get_slice("model.embed_tokens.weight").get_shape()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    down = sum(n for name, n in sizes.items() if "down_proj" in name)
    into = sum(n for name, n in sizes.items() if "up_proj" in name or "gate_proj" in name)
    total = sum(n for name, n in sizes.items() if not name.startswith("lm_head"))
    found = weights_at(Source(str(folder)), body=body_of(ffn=down + into, total=total))
    heads, head_size = config["num_key_value_heads"], config["hidden_size"] // config["num_attention_heads"]
    assert found == Weights(
        input_side=into, output_side=down, whole=total - down - into, head=table[0] * table[1], row=table[1],
        kv=2 * config["num_hidden_layers"] * heads * head_size, total=total,
    )  # fmt: skip
    dense = traffic_rows(body_of(ffn=down + into, total=total), found, costs=Costs(bytes_per_weight=4))[0]
    assert dense["model_dense_bytes"] == 4 * (260_032 + 64)
    with pytest.raises(SparsityLabError, match="The record is of another model"):
        weights_at(Source(str(folder)), body=body_of(ffn=down + into, total=total + 1))
    with pytest.raises(SparsityLabError, match="Name the model's place with --model"):
        weights_at(Source(str(folder / "none")), body=body_of(ffn=1, total=1))


def test_errors_against_monte_carlo():
    """The delta method against draws, and its bound where a covariance is not known."""
    draws = np.random.default_rng(0)
    weights = Weights(2_000, 1_000, 700, 300, 16, 8, 4_000)
    body = body_of(ffn=3_000, total=4_000, ratio=0.2, se=0.004, reuse=0.6, reuse_se=0.01)
    rows = by_convention(traffic_rows(body, weights, costs=Costs(context_tokens=100)))
    ratio = draws.normal(0.2, 0.004, 200_000)
    rest = 2 * 716 + 2 * 8 * 100
    for name, share in (
        ("output-side", (2 + ratio) / 3),
        ("input-side", (1 + 2 * ratio) / 3),
        ("oracle", ratio),
    ):
        row = rows[name, 1]
        assert row["ffn_bytes_se"] == pytest.approx((6_000 * share).std(), rel=0.01)
        assert row["ffn_speedup_se"] == pytest.approx((1 / share).std(), rel=0.02)
        model = (6_000 + rest) / (6_000 * share + rest)
        assert row["model_speedup_se"] == pytest.approx(model.std(), rel=0.02)
        assert row["model_speedup"] == pytest.approx(model.mean(), rel=0.001)
    bound = newly_active(Estimate(0.2, 0.004), Estimate(0.6, 0.01))
    assert bound.value == pytest.approx(0.08)
    joint = {
        rho: draws.multivariate_normal([0.2, 0.6], [[1.6e-5, 4e-5 * rho], [4e-5 * rho, 1e-4]], 200_000)
        for rho in (-1.0, 0.0, 1.0)
    }
    spread = {rho: (drawn[:, 0] * (1 - drawn[:, 1])).std() for rho, drawn in joint.items()}
    assert max(spread.values()) == pytest.approx(bound.se, rel=0.02)
    assert all(one <= 1.02 * bound.se for one in spread.values())
    assert speedup(1.0, Estimate(0.0, 0.0)) is None


def test_predictors_cost_and_miss():
    """Named share k/F, precision p, cost C: C + k/F (input + p output), its error that of p alone."""
    weights = Weights(2_000, 1_000, 700, 300, 16, 8, 4_000)
    said = {"layer": "all", "method": "predictor", "rank": 4, "budget": 1.5, "named_share": 0.3, "recall": 0.9,
            "recall_se": 0.01, "precision": 0.6, "precision_se": 0.02, "parameters": 90}  # fmt: skip
    others = [{**said, "layer": 0}, {**said, "method": "oracle", "rank": None}]
    rows = traffic_rows(
        body_of(ffn=3_000, total=4_000),
        weights,
        costs=Costs(),
        predictions={"predictor_rows": [said, *others]},
    )
    (row,) = [row for row in rows if row["convention"] == "predictor"]
    assert row["ffn_share"] == pytest.approx(0.03 + 0.3 * 2 / 3 + 0.3 * 0.6 / 3)
    assert row["ffn_share_se"] == pytest.approx(0.3 * 0.02 / 3)
    assert (row["rank"], row["budget"], row["recall"], row["recall_se"]) == (4, 1.5, 0.9, 0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        Costs(bytes_per_weight=0), Costs(bytes_per_weight=float("nan")), Costs(bytes_per_kv=-1),
        Costs(context_tokens=-1), Costs(predictor_cost=1.0), Costs(predictor_cost=-0.1),
        Costs(predictor_cost=float("nan")), TimingPlan(pairs=5), TimingPlan(tokens=0), TimingPlan(shapes=((0, 4),)),
        TimingPlan(ratios=(0.0,)), TimingPlan(ratios=(1.5,)),
    ],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(SparsityLabError):
        wrong.check()


def test_shapes_are_written_f_by_d():
    assert shape_of_words("1536x576") == (1536, 576)
    for wrong in ("1536", "axb", "1x2x3", "x", "-1x4", "²x4"):
        with pytest.raises(SparsityLabError, match="is not understood"):
            shape_of_words(wrong)


def test_records_that_are_none(tmp_path):
    with pytest.raises(SparsityLabError, match="There is no record of `sparsity-lab neurons` in"):
        read_bodies([tmp_path])
    with pytest.raises(SparsityLabError, match="Cannot read the record"):
        read_bodies([tmp_path / "none.json"])
    other = tmp_path / "other.json"
    records.write_json(other, records.seal({"content_key": "a", "layer_rows": []}))
    with pytest.raises(SparsityLabError, match="is not a record of `sparsity-lab neurons`"):
        read_bodies([other])
    sizes = dict.fromkeys(("tokens", "window", "hidden_size", "intermediate_size"), 8)
    said = {"content_key": "b", "series": "tiny", "bos": True, "activation_ratio": 0.25, **sizes}
    whole = records.seal({**dict.fromkeys(NEURON_KEYS), **body_of(ffn=1, total=1), **said})
    for name in ("one", "again"):
        records.write_json(tmp_path / "neuron_records" / f"{name}.json", whole)
    assert [body["content_key"] for _, body in read_bodies([tmp_path])] == ["b"]
    changed = {**whole, "tokens": 7}
    records.write_json(tmp_path / "neuron_records" / "again.json", changed)
    with pytest.raises(SparsityLabError, match="does not match its own hash"):
        read_bodies([tmp_path])


def test_models_and_predictions_are_found_by_what_they_are(tmp_path):
    body = {**body_of(ffn=1, total=1), "model": "models/a", "revision": "main"}
    assert source_of(body, [], models=1) == Source("models/a", "main")
    assert source_of(body, ["org/b"], models=1) == Source("org/b", "main")
    assert source_of(body, ["org/b"], models=2) == Source("models/a", "main")
    (tmp_path / "a").mkdir()
    assert source_of(body, ["org/b", str(tmp_path / "a")], models=2) == Source(str(tmp_path / "a"), None)
    other = {**body, "thresholds": [0.1, 0.3]}
    assert predictions_of(body, [(tmp_path, other)]) is None
    assert predictions_of(body, [(tmp_path, other), (tmp_path, body)]) is body


def test_every_weight_is_counted_once(llama):
    """Whatever lies outside is read whole or by rows: nothing is lost between the parts."""
    model = llama(layers=3, hidden=16, neurons=24)
    model.lm_head.weight = model.model.embed_tokens.weight
    found = weights_of(model, find_sites(model)[1])
    assert found.ffn + found.whole == found.total == sum(p.numel() for p in model.parameters())
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
