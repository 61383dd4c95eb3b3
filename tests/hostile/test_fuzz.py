"""Every parser of a user's file or flag, fed any bytes and words: nothing but our own error may come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsity_lab.cli.console.options import whole_or_auto
from sparsity_lab.cli.fit import _drops
from sparsity_lab.cli.measure_options import last_of, tokens_of
from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.density.lm_eval.answer_loss import answer_loss
from sparsity_lab.fitting.density.rulers.files import read_ruler
from sparsity_lab.fitting.density.rulers.ladder import read_ladder
from sparsity_lab.fitting.density.scores.targets import read_targets
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import lock_file
from sparsity_lab.measure.checkpoint.trained_tokens import read_table
from sparsity_lab.measure.sources.named import named_text
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.spec import percent
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.reading.yaml_file import read_yaml
from sparsity_lab.store.records import read_record
from tests.hostile.made_up import BRIEF, NUMBERS, attempt, written

PARSERS = {
    "record": read_record,
    "calibration": read_calibration,
    "ruler": read_ruler,
    "lock": lock_file.read,
    "yaml": read_yaml,
    "csv": read_csv,
    "series": read_series,
    "runs": lambda path: read_series(path, mapping=Columns(("a", "b"), "c")),
    "targets": read_targets,
    "ladder": read_ladder,
    "samples": answer_loss,
    "text": lambda path: read_text(path, tokens=100),
    "trained tokens": read_table,
}


@pytest.mark.parametrize("parser", PARSERS)
@BRIEF
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes(scratch, parser, content):
    attempt(PARSERS[parser], written(scratch, content))


@BRIEF
@given(text=NUMBERS | st.text(max_size=20) | st.text("auto:last%=.0123456789²٣-+e", max_size=10))
def test_words_of_flags(text):
    share = attempt(percent, text)
    assert share is None or isinstance(share, float)
    tokens = attempt(tokens_of, text)
    assert tokens is None or tokens[0] >= 1
    assert (attempt(last_of, text) or 1) >= 1
    assert (attempt(whole_or_auto, "batch_size", text) or 1) >= 1
    attempt(_drops, (text,))
    attempt(named_text, text, option="--text")
    attempt(load_law, text)
    attempt(load_law, f"A0 - c*x^-alpha; alpha={text}")
