"""`sparsity-lab affinity` as a user meets it: tables from records, timed ones, and each mistake in one paragraph."""

import csv
import json
import shutil

import pytest

from sparsity_lab.store.table_columns.affinity import BREAK_EVEN, DECODE, PRODUCTS, TRAFFIC
from tests.command import exit_code
from tests.unrendered import unrendered

PART = ("--tokens", 1024, "--window", 64)
FAST = ("--pairs", 6, "--shape", "40x16", "--ratio", 0.1, "--ratio", 0.5)


def run(*words, command="affinity"):
    return exit_code(command, *words)


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.fixture(scope="module")
@unrendered()
def watched(trained, source_text, tmp_path_factory):
    """What `neurons` and `predict` leave of one checkpoint."""
    root = tmp_path_factory.mktemp("affinity")
    text = ("--text", f"source={source_text}", *PART)
    assert (
        run(trained, "--text", source_text, *PART, "--knob", 0.1, "--output", root / "m", command="measure")
        == 0
    )
    given = (trained, "--thresholds", root / "m", *text)
    assert run(*given, "--written-tokens", 0, "--output", root / "neurons", command="neurons") == 0
    few = ("--epochs", 1, "--rank", 2, "--budget", 1, "--budget", 2)
    assert run(*given, *few, "--output", root / "predictors", command="predict") == 0
    return root


@pytest.fixture(scope="module")
def estimated(watched):
    """What `affinity` leaves, timed."""
    words = (
        "--predictors",
        watched / "predictors",
        "--predictor-cost",
        0.05,
        "--context",
        32,
        "--measure",
        *FAST,
    )
    assert run(watched / "neurons", *words, "--output", watched / "out") == 0
    return watched / "out"


@pytest.mark.long
def test_estimates_are_those_of_the_records_tables(estimated, watched):
    """Shares of `parameters.csv` and `chunks.csv`, and speed-ups as quotients of the bytes beside them."""
    rows = rows_of(estimated / "affinity.csv")
    assert list(rows[0]) == TRAFFIC.header
    by_name = {(row["convention"], int(row["tokens"])): row for row in rows}
    for theirs in rows_of(watched / "neurons" / "parameters.csv"):
        ours = by_name[theirs["convention"], 1]
        assert (ours["ffn_share"], ours["ffn_share_se"]) == (theirs["ffn_share"], theirs["ffn_share_se"])
        assert float(ours["ffn_dense_bytes"]) == 2 * float(theirs["ffn_dense"])
    whole = next(r for r in rows_of(watched / "neurons" / "neurons.csv") if r["layer"] == "all")
    fresh = float(whole["activation_ratio"]) * (1 - float(whole["reuse"]))
    assert float(by_name["cached", 1]["ffn_share"]) == pytest.approx(fresh)
    for theirs in rows_of(watched / "neurons" / "chunks.csv"):
        tokens = int(theirs["tokens"])
        if theirs["layer"] == "all" and 1 < tokens <= 64:
            assert by_name["chunk-oracle", tokens]["ffn_share"] == theirs["touched_oracle"]
    assert [row["budget"] for row in rows if row["convention"] == "predictor"] == ["1.0", "2.0"]
    for row in rows:
        assert float(row["ffn_speedup"]) == pytest.approx(1 / float(row["ffn_share"]))
        assert float(row["model_speedup"]) == pytest.approx(
            float(row["model_dense_bytes"]) / float(row["model_bytes"])
        )
        assert float(row["kv_bytes"]) == 32 * 2 * 2 * 32 * 2  # context, layers, keys and values, d, bytes


@pytest.mark.long
def test_timed_tables(estimated):
    products = rows_of(estimated / "affinity_products.csv")
    assert list(products[0]) == PRODUCTS.header
    assert [(row["what"], row["F"], row["d"]) for row in products] == [
        ("model", "48", "32"), ("calls", "8", "8"), *[("planted", "48", "32")] * 3, *[("planted", "40", "16")] * 3
    ]  # fmt: skip
    points = rows_of(estimated / "affinity_break_even.csv")
    assert list(points[0]) == BREAK_EVEN.header
    assert len(points) == 2
    (decode,) = rows_of(estimated / "affinity_decode.csv")
    assert list(decode) == DECODE.header
    for row in (*products, decode):
        assert 0 < float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
        assert float(row["efficiency"]) == pytest.approx(float(row["ratio"]) / float(row["ideal"]))
    summary = json.loads((estimated / "affinity.json").read_text(encoding="utf-8"))
    assert summary["provenance"]["command"].startswith("sparsity-lab")
    (place,) = summary["timed_on"]
    assert (place["device"], place["dtype"], place["sparse_down"]) == ("cpu", "float32", "torch")
    assert len(summary["affinity"]) == len(rows_of(estimated / "affinity.csv"))
    for name in ("affinity", "affinity_products"):
        assert (estimated / f"{name}.png").stat().st_size > 10_000
        assert (estimated / f"{name}.svg").exists()
    told = (estimated / "affinity.md").read_text(encoding="utf-8")
    assert "32 tokens in the KV cache" in told
    assert "**cached**" in told


def test_without_measure_nothing_is_timed(watched, tmp_path):
    assert run(watched / "neurons", "--output", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "affinity.csv", "affinity.md", "affinity.json", "affinity.png", "affinity.svg"
    }  # fmt: skip


def test_mistakes(watched, other, tmp_path, capfd):
    def told(*words, given=watched / "neurons"):
        capfd.readouterr()
        assert run(given, *words, "--output", tmp_path / "never") == 2
        assert not (tmp_path / "never").exists()
        (line,) = [one for one in capfd.readouterr().err.splitlines() if one.startswith("Error: ")]
        return line

    (measured,) = (watched / "m" / "records").glob("*.json")
    assert "is not a record of `sparsity-lab neurons`" in told(given=measured)
    assert "There is no record of `sparsity-lab neurons`" in told(given=watched / "m")
    assert "There is no record of `sparsity-lab predict`" in told("--predictors", watched / "neurons")
    assert "--predictor-cost is 1.5" in told("--predictor-cost", 1.5)
    assert "--bytes-per-weight is 0" in told("--bytes-per-weight", 0)
    assert "--context is -1" in told("--context", -1)
    assert "--shape 7 is not understood" in told("--measure", "--shape", "7")
    assert "--pairs is 5" in told("--measure", "--pairs", 5)
    assert "--ratio is 2" in told("--measure", "--ratio", 2)
    assert "cannot be read" in told("--model", tmp_path / "none")
    assert "is not the text of the record" in told("--measure", *FAST, "--text", f"source={other}")
    moved = shutil.copytree(watched / "neurons" / "neuron_records", tmp_path / "moved")
    assert "Name it with --text source=FILE" in told("--measure", given=moved)
    strange = shutil.copytree(watched / "predictors", tmp_path / "predictors")
    for path in (strange / "predictor_records").glob("*.json"):
        _retold(path, text_sha256="another")
    assert "None of the records of `predict`" in told("--predictors", strange)


def _retold(path, **changed):
    from sparsity_lab.store import records

    body = {**json.loads(path.read_text(encoding="utf-8")), **changed}
    records.write_json(path, records.seal(body))


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("\n".join(f"value_{i} = [{i % 7}]" for i in range(2000)), encoding="utf-8")
    return path
