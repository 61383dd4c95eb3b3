"""Every parser of a user's file or flag, fed what hypothesis makes up: nothing but our own error may come out."""

import csv
import io
import json
import math
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsity_lab.cli.fit import _drops
from sparsity_lab.cli.measure import _last, _tokens, windows_at_once
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting import locks, runs_locks
from sparsity_lab.fitting.csv_file import read_csv
from sparsity_lab.fitting.density.answer_loss import answer_loss
from sparsity_lab.fitting.density.ladder import read_ladder
from sparsity_lab.fitting.density.lm_eval_results import ladder_of, loss_rows, read_evaluations, targets_of
from sparsity_lab.fitting.density.ruler_files import read_ruler, shipped
from sparsity_lab.fitting.density.targets import read_targets
from sparsity_lab.fitting.runs import read_runs
from sparsity_lab.fitting.series import Columns, read_series
from sparsity_lab.fitting.spec import load_law
from sparsity_lab.ladder.config import parse_config
from sparsity_lab.ladder.study_config import parse_study
from sparsity_lab.ladder.yaml_file import read_yaml
from sparsity_lab.measure.calibration import read_calibration
from sparsity_lab.measure.loading import Source
from sparsity_lab.measure.spec import percent
from sparsity_lab.measure.text import read_text
from sparsity_lab.measure.trained_tokens import TokenCounts, read_table, steps_in, tokens_in
from sparsity_lab.measure.transfer import named_text
from sparsity_lab.records import read_record

BRIEF = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
NUMBERS = st.one_of(
    st.integers(-3, 10**12).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", " ", "1e400", "-0", "1,5", "٣", "²", "0x10", "1_000", "nan", "Infinity", "1.5M", "５", "½"]
    ),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=12), NUMBERS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def scratch():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def attempt(read, *arguments, **options):
    """Run a parser; our own error is an answer, any other fails the test."""
    try:
        return read(*arguments, **options)
    except SparsityLabError as error:
        told = error.paragraph()
    assert len(told) < 2000
    assert "\n" not in told
    return None


def written(folder, content, name="file"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


PARSERS = {
    "record": read_record,
    "calibration": read_calibration,
    "ruler": read_ruler,
    "lock": locks.read,
    "runs lock": runs_locks.read,
    "yaml": read_yaml,
    "csv": read_csv,
    "series": read_series,
    "runs": lambda path: read_runs(path, x=["a", "b"], y="c"),
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


def table(columns):
    """CSV of these columns, some missing or twice, in some order, and cells of all kinds, rows not all of a length."""
    headers = st.lists(st.sampled_from(columns), min_size=1, max_size=len(columns) + 1)
    cells = st.one_of(
        NUMBERS, NUMBERS, st.sampled_from(["a", "2024-01-01", "true", "perhaps", '"', "é", "\0"])
    )

    def text(drawn):
        stream = io.StringIO()
        csv.writer(stream).writerows(drawn)
        return stream.getvalue()

    def body(header):
        width = st.integers(max(0, len(header) - 1), len(header) + 1)
        right = st.lists(cells, min_size=len(header), max_size=len(header))
        rows = st.lists(right | width.flatmap(lambda n: st.lists(cells, min_size=n, max_size=n)), max_size=4)
        return rows.map(lambda found: text([header, *found]))

    return headers.flatmap(body)


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
@given(content=table(SERIES), mapping=st.builds(Columns, *[st.none() | st.sampled_from(SERIES)] * 4))
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
    attempt(
        read_runs, written(scratch, content), x=["params", "tokens"], y="x_bpb", group="run", exclude="role"
    )


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


SECTIONS = {
    "model": ["hidden_size", "layers", "head_dim", "heads", "activation", "gated", "intermediate_size"],
    "training": [
        "tokens",
        "learning_rate",
        "schedule",
        "batch_size",
        "window",
        "warmup_steps",
        "checkpoints",
    ],
    "data": ["corpus", "files", "max_epochs", "validation_share"],
    "tokenizer": ["vocabulary"],
    "measure": ["tokens", "window", "criterion", "ppl_increase", "stabilise", "fixed_cett"],
    "fit": ["bootstrap", "drop", "segments"],
}
GOOD = {
    "model": {"hidden_size": 64, "layers": 2, "head_dim": 16, "activation": "relu"},
    "training": {"tokens": 4_000_000},
    "data": {"corpus": "python"},
}
CONFIGS = st.fixed_dictionaries(
    {},
    optional={name: st.dictionaries(st.sampled_from(keys), VALUES, max_size=2).map(
        lambda d, n=name: GOOD.get(n, {}) | d)
              | VALUES for name, keys in SECTIONS.items()}
    | {"name": LEAVES, "seed": LEAVES, "runs": VALUES},
).map(lambda found: GOOD | found)  # fmt: skip


@BRIEF
@given(content=CONFIGS)
def test_configs(scratch, content):
    path = written(scratch, yaml.safe_dump(content, allow_unicode=True))
    read = attempt(read_yaml, path)
    for parse in (parse_config, parse_study):
        attempt(parse, read if isinstance(read, dict) else content, default_name="a")


@BRIEF
@given(text=st.text("abc:-[]{}&*!|>'\"#%@,?\n\t 0123.~<=é", max_size=60))
def test_texts_that_look_like_yaml(scratch, text):
    attempt(read_yaml, written(scratch, text))


def changed(document):
    """A document with the value somewhere in it replaced, or its key removed."""

    def paths(value, at=()):
        yield at
        pairs = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in pairs:
            yield from paths(inner, (*at, key))

    def replaced(value, at, new):
        if not at:
            return new
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[at[0]] = replaced(value[at[0]], at[1:], new)
        return copy

    places = [at for at in paths(document) if at]
    return st.builds(lambda at, new: replaced(document, at, new), st.sampled_from(places), VALUES)


RESULT = {
    "results": {"arc_easy": {"acc,none": 0.5, "acc_stderr,none": 0.01}}, "model_name": "a-1B",
    "config": {"model_num_parameters": 1e9, "model_args": "pretrained=a"},
    "n-samples": {"arc_easy": {"effective": 10}}, "sparsity_lab": {"setting": None},
}  # fmt: skip
SAMPLE = {
    "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " A"}, "gen_args_1": {"arg_0": "Q", "arg_1": " B"}},
    "filtered_resps": [["-1.5", "False"], ["-2.5", "False"]], "target": "0", "doc": {"choices": ["A", "B"]},
}  # fmt: skip


@BRIEF
@given(document=changed(RESULT))
def test_results_of_lm_eval(tmp_path_factory, document):
    folder = tmp_path_factory.mktemp("results")
    written(folder, json.dumps(document), "results_2024.json")
    for use in (targets_of, ladder_of, loss_rows):
        attempt(use, attempt(read_evaluations, folder) or [])


@BRIEF
@given(sample=changed(SAMPLE))
def test_samples_of_lm_eval(scratch, sample):
    attempt(answer_loss, written(scratch, json.dumps(sample)))


ONE_STEP = json.loads(
    next(path for path in shipped().values() if '"one-step"' in path.read_text()).read_text()
)


@BRIEF
@given(document=changed(ONE_STEP))
def test_rulers(scratch, document):
    attempt(read_ruler, written(scratch, json.dumps(document)))


LOCK = """format = 1
series = "a"
law = "power"
verdict = "identified"
reason = "agreed"
weighted = false
seed = 0
[input]
table = "t.csv"
points_sha256 = "00"
pinned = true
points = 9
dropped_points = 0
last_x = 9.0
[noise]
noise_sd = 0.1
freedom = 6
[prediction_tolerance]
absolute = 0.0
relative = 0.0
standard_errors = 2.0
[coefficient_tolerance]
absolute = 0.0
relative = 0.0
standard_errors = 2.0
[coefficients.A0]
value = 0.3
se = 0.1
[[probes]]
x = 1.0
y = 0.2
se = 0.01
"""


@BRIEF
@given(line=st.integers(0, LOCK.count("\n") - 1), value=LEAVES | st.lists(NUMBERS, max_size=2))
def test_locks(scratch, line, value):
    lines = LOCK.splitlines()
    lines[line] = f"{lines[line].split(' = ')[0]} = {locks.toml_value(value)}"
    found = attempt(locks.read, written(scratch, "\n".join(lines)))
    if found is not None:
        assert isinstance(found.seed, int)
        assert found.dropped_points >= 0


@BRIEF
@given(text=NUMBERS | st.text(max_size=20) | st.text("auto:last%=.0123456789²٣-+e", max_size=10))
def test_words_of_flags(text):
    share = attempt(percent, text)
    assert share is None or isinstance(share, float)
    tokens = attempt(_tokens, text)
    assert tokens is None or tokens[0] >= 1
    assert (attempt(_last, text) or 1) >= 1
    assert (attempt(windows_at_once, text) or 1) >= 1
    attempt(_drops, [text], None)
    attempt(named_text, text, option="--text")
    attempt(load_law, text)
    attempt(load_law, f"A0 - c*x^-alpha; alpha={text}")
