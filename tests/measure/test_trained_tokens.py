"""Trained tokens: from names, files and a table, in their order; a record keeps its numbers when they change."""

import json
import logging

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source
from sparsity_lab.measure.checkpoint.trained_tokens import (
    Origin,
    TokenCounts,
    read_table,
    refuse_strangers,
    steps_in,
    tell_origins,
    tell_small,
    tell_unknown,
    tokens_in,
)

PYTHIA = Source("EleutherAI/pythia-70m", "step1000")
OLMO = Source("allenai/OLMo-2-0425-1B", "stage1-step1000-tokens5B")


@pytest.mark.parametrize(
    ("name", "steps", "tokens"),
    [
        ("step143000", 143_000, None),
        ("step0", 0, None),
        ("checkpoint-500", 500, None),
        ("step-500", 500, None),
        ("step-000123", 123, None),
        ("global_step1000", 1000, None),
        ("iter_0001000", 1000, None),
        ("step-50K", 50_000, None),
        ("step1000-unsharded", 1000, None),
        ("step1000-tokens4B", 1000, 4_000_000_000),
        ("stage1-step1000-tokens5B", 1000, 5_000_000_000),
        ("tokens2.5B", None, 2_500_000_000),
        # A later stage counts from its own start; a wrong point on a curve is worse than none.
        ("stage2-ingredient1-step1000-tokens5B", None, None),
        ("stage10-step5", None, None),
        ("main", None, None),
        ("footsteps3", None, None),
        ("step-12ab", None, None),
    ],
)
def test_what_names_say(name, steps, tokens):
    assert (steps_in(name), tokens_in(name)) == (steps, tokens)


def test_revisions_by_steps_and_by_tokens_said():
    per_step = 2_097_152
    assert TokenCounts(tokens_per_step=per_step).of(PYTHIA)[0] == 1000 * per_step
    assert TokenCounts(tokens_per_step=per_step).of(OLMO)[0] == 1000 * per_step, "said tokens are rounded"
    assert TokenCounts().of(OLMO)[0] == 5_000_000_000
    assert TokenCounts().of(PYTHIA) == (None, Origin.UNKNOWN)
    assert TokenCounts(tokens_per_step=per_step).of(Source("org/step500-model"))[0] is None


def test_the_first_that_knows_says_so(tmp_path):
    """CSV, then sparsity_lab.json, then tokens seen, then steps, then the tokens a name speaks of."""
    folder = tmp_path / "run" / "step-7-tokens3K"
    folder.mkdir(parents=True)
    source = Source(str(folder))
    assert TokenCounts().of(source)[0] == 3000
    assert TokenCounts(tokens_per_step=10).of(source)[0] == 70
    state = folder / "trainer_state.json"
    state.write_text(json.dumps({"global_step": 8, "num_input_tokens_seen": 0}), encoding="utf-8")
    assert TokenCounts(tokens_per_step=10).of(source)[0] == 80
    assert TokenCounts().of(source)[0] == 3000
    state.write_text(json.dumps({"global_step": 8, "num_input_tokens_seen": 81}), encoding="utf-8")
    assert TokenCounts(tokens_per_step=10).of(source) == (81, Origin.STATE)
    (folder / "sparsity_lab.json").write_text(json.dumps({"trained_tokens": 82}), encoding="utf-8")
    assert TokenCounts(tokens_per_step=10).of(source) == (82, Origin.ABOUT)
    for name in ("step-7-tokens3K", "run/step-7-tokens3K", str(folder)):
        assert TokenCounts({name: 83}, 10).of(source) == (83, Origin.TABLE)
    both = TokenCounts({"step-7-tokens3K": 1, str(folder): 2})
    assert both.of(source)[0] == 2, "the fullest name wins"


@pytest.mark.parametrize("name", ["sparsity_lab.json", "trainer_state.json"])
@pytest.mark.parametrize(
    ("value", "tokens"),
    [("5000000000", 5 * 10**9), ("5e9", 5 * 10**9), ("5000000000.0", 5 * 10**9), ("null", None)],
)
def test_counts_beside_the_weights_however_json_writes_them(tmp_path, name, value, tokens):
    key = {"sparsity_lab.json": "trained_tokens", "trainer_state.json": "num_input_tokens_seen"}[name]
    (tmp_path / name).write_text(f'{{"{key}": {value}}}', encoding="utf-8")
    assert TokenCounts().of(Source(str(tmp_path)))[0] == tokens


@pytest.mark.parametrize(
    "value", ["4.2", '"5B"', '"5000000000"', "true", "-5", "1e30", "Infinity", "NaN", "[5]"]
)
def test_counts_beside_the_weights_that_are_none_are_refused(tmp_path, value):
    (tmp_path / "sparsity_lab.json").write_text(f'{{"trained_tokens": {value}}}', encoding="utf-8")
    with pytest.raises(SparsityLabError, match="not a count of tokens"):
        TokenCounts().of(Source(str(tmp_path)))


def test_broken_files_beside_the_weights_are_named(tmp_path):
    (tmp_path / "trainer_state.json").write_text("[]", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="trainer_state"):
        TokenCounts().of(Source(str(tmp_path)))


def test_a_table_is_read_with_its_byte_order_mark_and_further_columns(tmp_path):
    path = tmp_path / "tokens.csv"
    path.write_text(
        "\ufeffcheckpoint, trained_tokens,note\nstep1000,2097152000,x\nstep-0,0,\nlast,5e9,y\n",
        encoding="utf-8",
    )
    assert read_table(path) == {"step1000": 2_097_152_000, "step-0": 0, "last": 5_000_000_000}
    assert TokenCounts(read_table(path)).of(PYTHIA)[0] == 2_097_152_000
    assert TokenCounts({str(PYTHIA): 5}).of(PYTHIA)[0] == 5


@pytest.mark.parametrize(
    ("column", "cell", "tokens"),
    [
        ("trained_tokens_b", "2.1", 2_100_000_000),
        ("trained_tokens (1e6)", "2.5", 2_500_000),
        ("trained_tokens (1)", "12", 12),
        ("trained_tokens", "20000", 20_000),
    ],
)
def test_the_column_may_name_its_unit(tmp_path, caplog, column, cell, tokens):
    caplog.set_level("INFO", logger="sparsity_lab")
    path = tmp_path / "tokens.csv"
    path.write_text(f"checkpoint,{column}\na,{cell}\n", encoding="utf-8")
    assert read_table(path) == {"a": tokens}
    assert f"{column} read in" in caplog.text


@pytest.mark.parametrize("rows", ["a,2\nb,300", "a,0.02\nb,4.0", "a,1.5\nb,20000"])
def test_tokens_in_an_unnamed_unit_are_refused(tmp_path, rows):
    path = tmp_path / "tokens.csv"
    path.write_text(f"checkpoint,trained_tokens\n{rows}\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="trained_tokens_b"):
        read_table(path)


def test_series_of_unknown_trained_tokens_are_named_once(caplog):
    unknown = Origin.UNKNOWN
    tell_unknown([("a", unknown), ("a", unknown), ("b", Origin.TABLE), ("b", unknown), ("c", unknown)])
    (record,) = caplog.records
    assert "known of a, and fit needs them: --trained-tokens CSV" in record.getMessage()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("checkpoint,tokens\na,1\n", "has no column 'trained_tokens'. Its columns are checkpoint, tokens"),
        ("checkpoint,trained_tokens\n", "has no rows"),
        ("checkpoint,trained_tokens\na,1\nb,much\n", "Row 3 of .*, column 'trained_tokens': 'much' is not"),
        ("checkpoint,trained_tokens\na,-1\n", "Row 2 of .*, column 'trained_tokens': '-1'"),
        ("checkpoint,trained_tokens\na,1.5\n", "Row 2 of .*'1.5'"),
        ("checkpoint,trained_tokens\na,nan\n", "Row 2 of .*'nan'"),
        ("checkpoint,trained_tokens\na,inf\n", "Row 2 of .*'inf'"),
        ("checkpoint,trained_tokens\na\n", "row 2, column 'trained_tokens': the row has 1 cells"),
        ("checkpoint,trained_tokens\na,\n", "Row 2 of .*, column 'trained_tokens': ''"),
        ("checkpoint,trained_tokens\na,1,000\n", "row 2: the row has 3 cells.* without separators of thousands"),
        ("checkpoint,trained_tokens\n,7\n", "Row 2 of .* no name in the column 'checkpoint'"),
        ("checkpoint,trained_tokens\na,1\na,2\n", "Row 3 of .*'a' is there twice"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(tmp_path, content, told):
    path = tmp_path / "tokens.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SparsityLabError, match=told):
        read_table(path)


def test_a_table_about_other_checkpoints_is_refused(tmp_path):
    counts = TokenCounts({"step2000": 1})
    with pytest.raises(SparsityLabError, match="about a checkpoint of this run"):
        refuse_strangers(counts, [PYTHIA, OLMO], path=tmp_path / "tokens.csv")
    refuse_strangers(TokenCounts({"step1000": 1, "other": 2}), [OLMO, PYTHIA], path=tmp_path / "tokens.csv")


@pytest.mark.parametrize(
    ("counts", "said"), [([4, None, 300], True), ([4, 20_000], False), ([None], False), ([0], False)]
)
def test_few_tokens_throughout_are_reported(caplog, counts, said):
    caplog.set_level(logging.INFO)
    tell_small(counts)
    assert ("are they counted in" in caplog.text) == said


def test_origins_are_told_and_an_unused_option_too(caplog):
    caplog.set_level(logging.INFO)
    tell_origins([Origin.ABOUT, Origin.UNKNOWN, Origin.ABOUT], tokens_per_step=5)
    assert "trained tokens: 2 from sparsity_lab.json, 1 unknown" in caplog.text
    assert "--tokens-per-step was not used" in caplog.text


def test_an_option_that_was_used_is_not_told_as_unused(caplog):
    caplog.set_level(logging.INFO)
    tell_origins([Origin.ABOUT, Origin.STEPS], tokens_per_step=5)
    assert "1 from steps times --tokens-per-step" in caplog.text
    assert "was not used" not in caplog.text
