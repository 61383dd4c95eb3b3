"""`--tokens auto`: the text grows until the loss rise is known well enough, and all share the text."""

import logging
import math

import pytest

from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, expand

P = 0.05


def spec_of(text, *, error_share, tokens=512):
    return MeasureSpec(text=text, tokens=tokens, window=64, ppl_increase=P, error_share=error_share)


@pytest.mark.long
def test_the_text_grows_until_the_error_is_small_enough(trained, source_text, tmp_path, caplog):
    spec = spec_of(source_text, error_share=0.25)
    with caplog.at_level(logging.INFO):
        (row,) = measure_checkpoints(spec, expand([str(trained)]), output=tmp_path)
    assert row["tokens"] > 512
    assert row["loss_delta_se_nats"] <= 0.25 * math.log1p(P)
    assert "on with" in caplog.text
    rounds = len(list((tmp_path / "records").glob("*.json")))
    assert rounds >= 2
    # The same command again finds every round measured.
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again = measure_checkpoints(spec, expand([str(trained)]), output=tmp_path)
    assert again == [row]
    assert "0 cells measured in this run" in caplog.text
    assert len(list((tmp_path / "records").glob("*.json"))) == rounds
    # Alone on that much text the number is the same.
    (alone,) = measure_checkpoints(
        spec_of(source_text, error_share=None, tokens=row["tokens"]),
        expand([str(trained)]),
        output=tmp_path / "alone",
    )
    assert alone["activation_ratio"] == row["activation_ratio"]


@pytest.mark.long
def test_a_text_that_ends_is_said_and_its_number_kept(trained, source_text, tmp_path, caplog):
    short = tmp_path / "short.txt"
    short.write_text(source_text.read_text(encoding="utf-8")[:6000], encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        (row,) = measure_checkpoints(
            spec_of(short, error_share=0.001), expand([str(trained)]), output=tmp_path / "out"
        )
    assert "the text has no more" in caplog.text
    assert row["tokens"] <= 6000
    assert row["loss_delta_se_nats"] > 0.001 * math.log1p(P)
    assert "short_text" in row["flags"]
    assert "short_text" in (tmp_path / "out" / "table.csv").read_text(encoding="utf-8")
