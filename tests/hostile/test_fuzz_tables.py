"""Tables of points, models, runs and trained tokens with made-up columns and cells: our own error, or usable rows."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.density.rulers.ladder import read_ladder
from sparsity_lab.fitting.density.scores.targets import read_targets
from sparsity_lab.measure.checkpoint.loading import Source
from sparsity_lab.measure.checkpoint.trained_tokens import TokenCounts, read_table, steps_in, tokens_in
from tests.hostile.made_up import BRIEF, VALUES, attempt, table, written

SERIES = ["series", "model", "activation", "tokens", "trained_tokens", "activation_ratio", "activation_ratio_se",
          "rule", "knob", "params_total", "width_depth_ratio"]  # fmt: skip
MODELS = [
    "model",
    "params_b",
    "params",
    "release_date",
    "moe",
    "train_tokens_t",
    "MMLU",
    "MMLU_se",
    "MMLU_n",
    "BBH",
]
RUNS = ["run", "params", "tokens", "role", "x_bpb", "x_acc", "y_nats", "y_acc"]


@BRIEF
@given(
    content=table(SERIES),
    mapping=st.builds(
        Columns,
        st.sampled_from([(), *((name,) for name in SERIES)]),
        *[st.none() | st.sampled_from(SERIES)] * 4,
    ),
)
def test_tables_of_points(scratch, content, mapping):
    found = attempt(read_series, written(scratch, content), mapping=mapping)
    for series in found or ():
        assert all(map(math.isfinite, [*series.x, *series.y]))


@BRIEF
@given(content=table(MODELS))
def test_tables_of_models(scratch, content):
    for target in attempt(read_targets, written(scratch, content)) or ():
        assert all(0 <= score.value <= 1 for score in target.scores.values())


@BRIEF
@given(content=table(RUNS))
def test_tables_of_runs(scratch, content):
    attempt(read_ladder, written(scratch, content))
    columns = Columns(("params", "tokens"), "x_bpb", "run", exclude="role")
    attempt(lambda path: read_series(path, mapping=columns), written(scratch, content))


@BRIEF
@given(content=table(["checkpoint", "trained_tokens", "note"]))
def test_tables_of_trained_tokens(scratch, content):
    for tokens in (attempt(read_table, written(scratch, content)) or {}).values():
        assert 0 <= tokens <= 10**18


@BRIEF
@given(name=st.text(max_size=30) | st.from_regex(
       r"(step|checkpoint-|tokens)\d{0,30}[kmbtKMBT.]?\d{0,3}", fullmatch=True),
       about=VALUES)  # fmt: skip
def test_trained_tokens_in_names_and_files(scratch, name, about):
    attempt(steps_in, name)
    attempt(tokens_in, name)
    folder = scratch / "checkpoint-7"
    folder.mkdir(exist_ok=True)
    written(folder, json.dumps(about), "trainer_state.json")
    attempt(TokenCounts(tokens_per_step=5).of, Source(str(folder)))
