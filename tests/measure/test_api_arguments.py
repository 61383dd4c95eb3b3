"""What callers of the Python API may hand over: what would be another text or setting than they meant is refused."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import measure, measure_under
from sparsity_lab.measure.callback import MeasureCallback
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
from sparsity_lab.measure.neurons.api import watch_neurons
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.token_heat import HeatSpec, write_heat
from tests.measure.architectures.tiny import tiny

WINDOW, THRESHOLDS = 16, [0.02, 0.02]


@pytest.fixture(scope="module")
def model(trained):
    return AutoModelForCausalLM.from_pretrained(trained)


@pytest.fixture(scope="module")
def ids(trained, source_text):
    from sparsity_lab.measure.checkpoint.loading import Source, load_tokenizer
    from sparsity_lab.measure.model.windows import encode

    return encode(load_tokenizer(Source(str(trained))), source_text.read_text(encoding="utf-8"), tokens=256)


CALLS = {
    "measure": lambda model, ids, **more: measure(model, ids, window=WINDOW, knob=0.1, **more).ppl_ratio,
    "measure_under": lambda model, ids, **more: measure_under(
        model, ids, THRESHOLDS, window=WINDOW, **more
    ).ppl_ratio,
    "watch_neurons": lambda model, ids, **more: watch_neurons(
        model, ids, thresholds=THRESHOLDS, window=WINDOW, **more
    ).estimator.counts.loss_nats.sum(),
}  # fmt: skip
SAME = {
    "one row": lambda ids: ids[None],
    "int32": lambda ids: ids.int(),
    "an array": lambda ids: ids.numpy(),
    "a list": lambda ids: ids.tolist(),
}
OTHER = {
    "several rows": (lambda ids: ids.reshape(4, -1), "not one stream"),
    "floats": (lambda ids: ids + 0.7, "not whole numbers"),
    "a mask": (lambda ids: ids > 3, "not whole numbers"),
    "labels": (lambda ids: ids.where(ids > ids.median(), -100), "-100 first"),
    "another tokenizer's": (lambda ids: ids.where(ids < ids.max(), 10**6), "1000000 first"),
    "words": (lambda ids: "a text", "cannot be read"),
    "a batch of transformers": (lambda ids: {"input_ids": ids}, "cannot be read"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", SAME)
@pytest.mark.long
def test_ids_of_any_form_are_the_same_text(call, form, model, ids):
    assert CALLS[call](model, SAME[form](ids)) == CALLS[call](model, ids)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", OTHER)
@pytest.mark.long
def test_ids_that_are_no_text_are_refused(call, form, model, ids):
    change, said = OTHER[form]
    with pytest.raises(SparsityLabError, match=said):
        CALLS[call](model, change(ids))


@pytest.mark.parametrize("call", CALLS)
def test_ids_that_begin_with_the_bos_are_given_it_once(call, model, ids):
    begun = torch.cat([torch.tensor([1]), ids])
    assert CALLS[call](model, begun, bos_id=1) == CALLS[call](model, ids, bos_id=1)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"batch_size": -1}, {"batch_size": 1.5}, {"batch_size": np.int64(0)}, {"bos_id": -1},
     {"bos_id": True}, {"bos_id": 10**6}, {"bos_id": 1.5}, {"seed": -1}, {"seed": float("nan")}, {"seed": 2**40}],
    ids=str,
)  # fmt: skip
@pytest.mark.long
def test_numbers_out_of_their_ranges_are_refused(call, wrong, model, ids):
    with pytest.raises(SparsityLabError):
        CALLS[call](model, ids, **wrong)


@pytest.mark.parametrize("name", ["knob", "ppl_increase", "activation_ratio"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, "0.1", True, torch.tensor(0.1)], ids=str)
def test_targets_are_numbers(name, value, model, ids):
    with pytest.raises(SparsityLabError):
        measure(model, ids, window=WINDOW, **{name: value})


@pytest.mark.parametrize("kind", [torch.tensor, np.array, lambda values: list(map(np.float32, values))])
def test_thresholds_may_be_tensors_and_arrays(kind, model, ids):
    wanted = measure_under(model, ids, THRESHOLDS, window=WINDOW)
    assert measure_under(model, ids, kind(THRESHOLDS), window=WINDOW).ppl_ratio == wanted.ppl_ratio


@pytest.mark.parametrize("value", [0.1, None, "ab", [True, True], ["a", "b"]], ids=str)
def test_thresholds_that_are_none_are_refused(value, model, ids):
    with pytest.raises(SparsityLabError):
        measure_under(model, ids, value, window=WINDOW)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, float("nan"), float("inf"), "500"], ids=str)
def test_a_callback_that_would_never_measure_is_refused(value, source_text, tmp_path):
    with pytest.raises(SparsityLabError, match="every_steps"):
        MeasureCallback(source_text, output=tmp_path / "out", every_steps=value)


@pytest.mark.parametrize(
    "changes", [{"tokens": 64.5}, {"window": 8.0}, {"batch_size": 0}, {"seed": 1.5}], ids=str
)
def test_a_callback_takes_whole_numbers(changes, source_text, tmp_path):
    with pytest.raises(SparsityLabError, match=next(iter(changes)).replace("_", ".")):
        MeasureCallback(source_text, output=tmp_path / "out", every_steps=5, **changes)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.long
def test_experts_that_no_token_came_to_are_no_trouble():
    model = tiny("mixtral", num_local_experts=40)
    options = {"do_sample": False, "pad_token_id": 5, "eos_token_id": None, "max_new_tokens": 8}
    ids = model.generate(torch.zeros(2, 1, dtype=torch.long), **options)[:, 1:].flatten()
    found = measure(model, ids, window=8, bos_id=0, knob=0.2)
    assert min(found.thresholds) == 0.0


SPECS = {
    "measure": lambda path, **more: check_spec(MeasureSpec(**{"text": path, **more})),
    "callback": lambda path, **more: MeasureCallback(
        **{"text": path, "output": path.parent, "every_steps": 1, **more}
    ),
    "neurons": lambda path, **more: NeuronSpec(**{"texts": (), **more}).check(),
    "heat": lambda path, **more: write_heat(HeatSpec(**{"text": path, **more}), [], output=path.parent),
    "eval": lambda path, **more: run_eval(
        EvalSpec(**{"model": "m", "tasks": ("t",), **more}), output=path.parent
    ),
    "a live model": lambda path, **more: measure(None, [1], **more),
}
WRONG = {
    "measure": [
        {"ppl_increase": "1%"}, {"knob": "0.1"}, {"knob": True}, {"activation_ratio": "30%"}, {"error_share": "10%"},
        {"further": ("2%",)}, {"further": 0.1}, {"tokens": "64"}, {"text": "t.txt"}, {"thresholds": "x.json"},
        {"trained_tokens": "t.csv"}, {"criterion": None}, {"dtype": torch.float32}, {"device": None}, {"bos": "no"},
    ],
    "callback": [
        {"ppl_increase": "1%"}, {"knob": "0.1"}, {"activation_ratio": "30%"}, {"window": "64"}, {"criterion": None},
        {"text": None}, {"output": None}, {"architecture_file": "x.py"}, {"bos": "no"}, {"tokenizer": "gpt2"},
    ],
    "neurons": [{"tokens": "64"}, {"prompts": 1.5}, {"architecture_file": "x.py"}, {"device": 0}],
    "heat": [{"tokens": "5"}, {"line": "1"}, {"text": "t.txt"}],
    "eval": [{"limit": "5"}, {"batch_size": 2}, {"tasks": "t"}, {"thresholds": ("x.json",)}, {"revision": 5}],
    "a live model": [
        {"ppl_increase": "1%"}, {"knob": "0.1"}, {"activation_ratio": "30%"}, {"seed": "0"}, {"knob": [0.1]},
        {"criterion": None},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "given"), [(call, given) for call, several in WRONG.items() for given in several]
)
def test_what_is_not_of_the_kind_that_is_asked_for_is_named(call, given, source_text, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text(source_text.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    (name,) = given
    with pytest.raises(SparsityLabError, match=name):
        SPECS[call](text, **given)


def test_one_checkpoint_needs_no_list_and_may_be_a_path(trained):
    assert expand(trained) == expand(str(trained)) == expand([trained]) == expand([str(trained)])
    assert [one.source.revision for one in expand("acme/tiny", revisions="step1")] == ["step1"]
