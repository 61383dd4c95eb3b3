"""lm-eval's results and samples, rulers and locks with any value replaced: our own error, or usable numbers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sparsity_lab.fitting.density.lm_eval.answer_loss import answer_loss
from sparsity_lab.fitting.density.lm_eval.results import ladder_of, loss_rows, read_evaluations, targets_of
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.locks import lock_file
from tests.hostile.made_up import BRIEF, LEAVES, NUMBERS, attempt, changed, written

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
    lines[line] = f"{lines[line].split(' = ')[0]} = {lock_file.toml_value(value)}"
    found = attempt(lock_file.read, written(scratch, "\n".join(lines)))
    if found is not None:
        assert isinstance(found.spec.seed, int)
        assert found.dropped_points >= 0
