"""In which unit a column is read: from its name, from a flag, and never against its values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading import units
from sparsity_lab.reading.units import BY_FLAG, BY_NAME, UNNAMED, Asked, read_unit


@pytest.mark.parametrize(
    ("column", "quantity", "factor"),
    [
        ("tokens", units.TOKENS, None),
        ("trained_tokens", units.TOKENS, None),
        ("TrainingTokens", units.TOKENS, None),
        ("tokens_b", units.TOKENS, 1e9),
        ("tokens (1e9)", units.TOKENS, 1e9),
        ("tokens_1e9", units.TOKENS, 1e9),
        ("tokens/1e9", units.TOKENS, 1e9),
        ("tokens x 10⁹", units.TOKENS, 1e9),
        ("Tokens (10^9)", units.TOKENS, 1e9),
        ("tokens in billions", units.TOKENS, 1e9),
        ("tokens_billion", units.TOKENS, 1e9),
        ("D [B tokens]", units.TOKENS, 1e9),
        ("D (1e9)", units.TOKENS, 1e9),
        ("tokensB", units.TOKENS, 1e9),
        ("gtokens", units.TOKENS, 1e9),
        ("train_tokens_t", units.TOKENS, 1e12),
        ("trained_tokens_m", units.TOKENS, 1e6),
        ("tokens (1)", units.TOKENS, 1.0),
        ("params_b", units.PARAMETERS, 1e9),
        ("params_m", units.PARAMETERS, 1e6),
        ("N (params, M)", units.PARAMETERS, 1e6),
        ("params_nonembedding", units.PARAMETERS, None),
        ("flops (1e18)", units.FLOPS, 1e18),
        ("PFLOPs", units.FLOPS, 1e15),
        ("loss", units.LOSS, None),
        ("loss_bits", units.LOSS, math.log(2)),
        ("loss (nats)", units.LOSS, 1.0),
        ("tokens (1,000,000,000)", units.TOKENS, 1e9),
        ("tokens (1_000_000_000)", units.TOKENS, 1e9),
        ("tokens (1000000000)", units.TOKENS, 1e9),
        ("tokens_1e+09", units.TOKENS, 1e9),
        ("tokens/1B", units.TOKENS, 1e9),
        ("tokens (x1e9)", units.TOKENS, 1e9),
        ("tokens (10e9)", units.TOKENS, 1e10),
        ("tokens (100M)", units.TOKENS, 1e8),
        ("D (10^{9} tokens)", units.TOKENS, 1e9),
        ("tokens_e9", units.TOKENS, 1e9),
        ("tokens_mm", units.TOKENS, 1e6),
        ("tokens (bln)", units.TOKENS, 1e9),
        ("tokens_mrd", units.TOKENS, 1e9),
        ("total_billion_tokens", units.TOKENS, 1e9),
        ("Gtok", units.TOKENS, 1e9),
        ("megatokens", units.TOKENS, 1e6),
        ("petaflops", units.FLOPS, 1e15),
        ("tokens.1", units.TOKENS, None),
        ("tokens_2", units.TOKENS, None),
        ("run-b - tokens", units.TOKENS, None),
        ("pythia-70m - train/tokens", units.TOKENS, None),
        ("llama-1B - train/tokens_b", units.TOKENS, 1e9),
        ("loss_7b", units.LOSS, None),
        ("token_loss", units.LOSS, None),
    ],
)
def test_names_say_the_quantity_and_the_unit(column, quantity, factor):
    assert units.quantity_of(column) is quantity
    unit = read_unit(column, quantity)
    assert unit.factor == (1.0 if factor is None else factor)
    assert unit.origin == (UNNAMED if factor is None else BY_NAME)


@pytest.mark.parametrize(
    "column",
    [
        "tokens_per_step", "log_tokens", "token_id", "steps", "n", "mlp", "ratio", "b", "tokens/param", "FLOPs/token",
        "tokens/s", "lg_tokens", "compute (PF-days)", "pflop_days", "compute_gpu_hours", "mean_token_accuracy",
        "param_norm", "loss (bits/byte)", "loss_scale", "tokens - lr",
    ],
)  # fmt: skip
def test_names_of_something_else_say_nothing(column):
    assert units.quantity_of(column) is None


@given(
    factor=st.sampled_from([1e3, 1e6, 1e9, 1e12]),
    counts=st.lists(st.integers(10**4, 10**13), min_size=1, max_size=8),
)
def test_counts_in_another_unit_never_pass_for_counts(factor, counts):
    """What is read is either the count itself, or refused; but where it might as well be a count it is one."""
    cells = [count / factor for count in counts]
    plain = read_unit("tokens", units.TOKENS)
    may_be_counts = (
        all(cell == round(cell) or cell > units.LARGEST_FRACTION for cell in cells) and max(cells) >= 1e4
    )
    if not may_be_counts:
        with pytest.raises(SparsityLabError, match="--unit tokens=1e9"):
            units.check(plain, cells, table="t.csv")
    named = read_unit("tokens", units.TOKENS, Asked.of([f"tokens={factor:g}"]))
    assert named.origin == BY_FLAG
    units.check(named, [cell * named.factor for cell in cells], table="t.csv")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("tokens", [0.02, 0.5, 4.0]),
        ("tokens", [1, 2, 300]),
        ("tokens", [2000.5, 40000.25]),
        ("tokens_b", [2e7 * 1e9, 4e9 * 1e9]),
        ("params", [0.07, 12.0]),
        ("params", [70, 160, 410]),
        ("flops", [1.0, 250.0]),
        ("loss", [3.1, 45.0]),
    ],
)
def test_values_that_cannot_be_what_the_column_says(column, values):
    quantity = units.quantity_of(column)
    with pytest.raises(SparsityLabError, match=f"--unit {quantity.name}="):
        units.check(read_unit(column, quantity), values, table="t.csv")


def test_a_flag_is_believed_but_not_beyond_what_there_can_be():
    unit = read_unit("tokens", units.TOKENS, Asked.of(["tokens=1"]))
    units.check(unit, [12.0, 600.0], table="t.csv")
    with pytest.raises(SparsityLabError, match="above 1e\\+15"):
        units.check(read_unit("tokens", units.TOKENS, Asked.of(["tokens=1e9"])), [4e18], table="t.csv")


@pytest.mark.parametrize("words", [["tokens"], ["=1e9"], ["tokens="], ["tokens=1e9", "tokens=1e6"]])
def test_flags_that_name_no_unit(words):
    with pytest.raises(SparsityLabError):
        Asked.of(words)


@pytest.mark.parametrize(
    "word", ["many", "inf", "nan", "-1e9", "0", "percent", "1e-9", "0.5", "1e400", "1e99"]
)
def test_words_that_are_no_unit_of_tokens(word):
    with pytest.raises(SparsityLabError, match="not a unit of tokens"):
        read_unit("tokens", units.TOKENS, Asked.of([f"tokens={word}"]))


def test_a_name_with_two_units_is_asked_about():
    with pytest.raises(SparsityLabError, match="It names two"):
        read_unit("tokens_b (1e6)", units.TOKENS)


@pytest.mark.parametrize(
    "column",
    ["pythia-70m tokens", "tokens_100m", "llama-1B/tokens", "model_b_tokens", "tokens (7B)", "tokens (2^20)"],
)
def test_an_amount_that_may_be_the_size_of_a_model_is_asked_about(column):
    with pytest.raises(SparsityLabError, match=r"--unit tokens=1e9, or =1 for none"):
        read_unit(column, units.TOKENS)
    assert read_unit(column, units.TOKENS, Asked.of(["tokens=1"])).factor == 1.0


@given(
    power=st.integers(3, 15),
    form=st.sampled_from(
        ["_1e{0}", " (1e{0})", " (10^{0})", "/1E{0}", " (10**{0})", " [x1e+{0}]", " ({1:,})", " ({1:_})", "_{1}"]
    ),
)  # fmt: skip
def test_every_power_of_ten_is_read_however_it_is_written(power, form):
    assert read_unit("tokens" + form.format(power, 10**power), units.TOKENS).factor == 10.0**power


def test_a_flag_that_says_the_plain_unit_is_believed_of_every_loss():
    units.check(read_unit("loss", units.LOSS, Asked.of(["loss=nats"])), [3600.0, 2700.0], table="t.csv")
