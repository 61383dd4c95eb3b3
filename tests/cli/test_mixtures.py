"""A mixture of experts on the command line: what works, and what is refused with the reason."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "measure" / "architectures"))
from tiny import tiny

from sparsity_lab.fitting.plots.neurons import draw_neurons
from sparsity_lab.measure.checkpoint.loading import Source, load_tokenizer
from sparsity_lab.store.table_columns.frequency import EXPERT_CHUNKS, EXPERT_LAYERS, EXPERT_ROUTING, EXPERTS
from tests.command import exit_code
from tests.unrendered import unrendered

PART = ("--tokens", 1024, "--window", 32)


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.fixture(scope="module")
def mixture(trained, tmp_path_factory):
    """A random Qwen2-MoE with the tokenizer of a trained model."""
    folder = tmp_path_factory.mktemp("mixture") / "model"
    tokenizer = load_tokenizer(Source(str(trained)))
    tiny("qwen2_moe", vocab_size=len(tokenizer)).save_pretrained(folder)
    for path in Path(trained).glob("*token*"):
        shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
@unrendered()
def measured(mixture, source_text, tmp_path_factory):
    output = tmp_path_factory.mktemp("measured")
    words = ("measure", mixture, "--text", source_text, *PART, "--knob", 0.2, "--allow-untrained")
    assert exit_code(*words, "--output", output) == 0
    return output


@pytest.fixture(scope="module")
@unrendered()
def watched(mixture, measured, source_text, tmp_path_factory):
    output = tmp_path_factory.mktemp("watched")
    words = (
        "neurons",
        mixture,
        "--thresholds",
        measured,
        "--text",
        source_text,
        *PART,
        "--written-tokens",
        4,
    )
    assert exit_code(*words, "--prompts", 4, "--output", output) == 0
    return output


@pytest.mark.long
def test_the_tables_of_experts_are_those_described(watched):
    for table, rows in ((EXPERTS, 12), (EXPERT_LAYERS, 3), (EXPERT_ROUTING, 4 * 13), (EXPERT_CHUNKS, None)):
        found = rows_of(watched / f"{table.name}.csv")
        assert list(found[0]) == table.header
        assert len(found) == rows or rows is None
    assert [row["layer"] for row in rows_of(watched / "neurons.csv")] == ["all", "0", "1", "2"]
    beyond = [row for row in rows_of(watched / "expert_routing.csv") if int(row["segment"]) > 32]
    assert beyond
    assert all(row["srp"] == "" for row in beyond)


@pytest.mark.long
def test_the_activation_ratio_is_that_of_measure(measured, watched):
    (ratio,) = {row["activation_ratio"] for row in rows_of(measured / "table.csv")}
    whole = rows_of(watched / "neurons.csv")[0]
    assert float(whole["activation_ratio"]) == pytest.approx(float(ratio), abs=1e-12)


@pytest.mark.long
def test_the_figures_of_experts_are_drawn(watched, tmp_path):
    for path in watched.glob("*.csv"):
        shutil.copy(path, tmp_path / path.name)
    rows = rows_of(tmp_path / "experts.csv")
    dead = next(row for row in rows if row["kind"] == "routed")
    dead |= {"tokens": "0", "load": "0", "largest_output_over_median": ""}
    (tmp_path / "experts.csv").write_text(EXPERTS.csv(rows), encoding="utf-8")
    drawn = {path.name for path in draw_neurons(tmp_path)}
    names = ("expert_load", "expert_outputs", "expert_routing", "layers")
    assert drawn >= {f"{name}.{ending}" for name in names for ending in ("png", "svg")}


@unrendered()
def test_a_record_is_read_again(mixture, measured, watched, source_text):
    before = (watched / "experts.csv").read_bytes()
    words = (
        "neurons",
        mixture,
        "--thresholds",
        measured,
        "--text",
        source_text,
        *PART,
        "--written-tokens",
        4,
    )
    assert exit_code(*words, "--prompts", 4, "--output", watched) == 0
    assert (watched / "experts.csv").read_bytes() == before
    assert len(list((watched / "neuron_records").glob("*.json"))) == 1


@unrendered()
def test_heat_shows_layers_and_says_how_many_experts(mixture, measured, source_text, tmp_path):
    words = ("heat", mixture, "--thresholds", measured, "--text", source_text, "--tokens", 20)
    assert exit_code(*words, "--output", tmp_path) == 0
    heat = json.loads((tmp_path / "token_heat.json").read_text(encoding="utf-8"))
    assert (heat["experts_per_token"], heat["sizes"]) == ([2, 0, 2], [88, 72, 88])


@unrendered()
def test_structure_follows_routes_and_the_others_are_refused(
    mixture, measured, watched, source_text, tmp_path
):
    words = (mixture, "--thresholds", measured, "--text", source_text, *PART)
    assert exit_code("structure", *words, "--output", tmp_path / "s") == 0
    shown = [
        line.split("|") for line in (tmp_path / "s" / "routing.md").read_text(encoding="utf-8").splitlines()
    ]
    layer = [cell.strip() for cell in shown[0]].index("layer")
    assert {line[layer].strip() for line in shown[2:]} == {"0", "1"}
    assert exit_code("predict", *words, "--output", tmp_path / "p") == 2
    assert exit_code("affinity", watched, "--output", tmp_path / "a") == 2
