"""Two results are one model under one setting, or they have rows of their own with names that tell them apart."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.identity import Identity, identity_of, labels
from sparsity_lab.fitting.density.lm_eval.models import nominal_size
from sparsity_lab.fitting.density.lm_eval.results import read_evaluations, targets_of
from sparsity_lab.fitting.density.notes import Notes
from tests.fitting.lm_eval_documents import accuracy, document, write_results

OTHER_MODELS = {
    "revision in the arguments": ({"args": "revision=step1000"}, "m-1B@step1000"),
    "revision in the configuration": ({"config": {"model_revision": "step1000"}}, "m-1B@step1000"),
    "commit": ({"config": {"model_sha": "0123456789abcdef" * 3}}, "m-1B@01234567"),
    "adapter": ({"args": "peft=me/lora"}, "m-1B (peft=me/lora)"),
    "adapter as lm-eval names it": ({"args": "peft=me/lora", "model_name": "me/lora"}, "m-1B (peft=me/lora)"),
    "delta": ({"args": "delta=me/delta"}, "m-1B (delta=me/delta)"),
    "4 bit": ({"args": "load_in_4bit=True"}, "m-1B (load_in_4bit)"),
    "8 bit": ({"args": "load_in_8bit=True"}, "m-1B (load_in_8bit)"),
    "gptq": ({"args": "gptqmodel=True"}, "m-1B (gptqmodel)"),
    "gguf": ({"args": "gguf_file=m.Q4_K_M.gguf"}, "m-1B (gguf_file=m.Q4_K_M.gguf)"),
    "dtype": ({"config": {"model_dtype": "torch.float32"}}, "m-1B (dtype=float32)"),
    "an argument of nobody": ({"args": "noise=0.1"}, "m-1B (noise=0.1)"),
    "beginning of sequence": ({"args": "add_bos_token=True"}, "m-1B (add_bos_token)"),
    "no beginning of sequence": ({"args": "add_bos_token=False"}, "m-1B (add_bos_token=false)"),
    "slow tokenizer": ({"args": "use_fast_tokenizer=False"}, "m-1B (use_fast_tokenizer=false)"),
    "a value with commas": (
        {"args": 'rope_scaling={"type":"linear","factor":8},dtype=float16'},
        'm-1B (rope_scaling={"type":"linear","factor":8})',
    ),
    "another program": ({"model_source": "vllm"}, "m-1B (backend=vllm)"),
    "chat template": ({"chat_template_sha": "a" * 64}, "m-1B (chat_template=aaaaaaaa)"),
    "system instruction": ({"system_instruction": "be good"}, "m-1B (system_instruction=be good)"),
    "several turns": ({"fewshot_as_multiturn": True}, "m-1B (fewshot_as_multiturn)"),
    "the first documents only": ({"config": {"limit": 10.0}}, "m-1B (limit=10.0)"),
    "another folder": ({"model": "other/m-1B"}, "other/m-1B"),
    "thresholds": ({"sparsity_lab": {"setting": "PPL-1%", "content_key": "k"}}, "m-1B at PPL-1%"),
}  # fmt: skip
SAME_MODEL = {
    "batch size": {"config": {"batch_size": "auto:4", "batch_sizes": [64]}},
    "several devices": {"args": "parallelize=True,device_map_option=auto"},
    "device": {"args": "device=cuda:1"},
    "code of the repository": {"args": "trust_remote_code=True"},
    "off": {"args": "load_in_4bit=False,peft=None"},
    "a key": {"args": "auth_token=secret,api_key=secret,header=secret"},
    "dtype as the model has it": {"args": "dtype=auto"},
    "the default revision": {"args": "revision=main"},
    "dtype written out": {"args": "dtype=float16"},
    "arguments as a mapping": {"config": {"model_args": {"pretrained": "lab/m-1B", "peft": None}}},
    "another spelling of the path": {"model": "./lab/m-1B/"},
    "an older name of the program": {"model_source": "hf-auto"},
}


def rows(folder, *documents, models=None):
    notes = Notes()
    evaluations = read_evaluations(write_results(folder, *documents), models=models, notes=notes)
    return {t.model: t for t in targets_of(evaluations)}, notes


@pytest.mark.parametrize("kind", OTHER_MODELS)
def test_another_model_has_a_row_of_its_own(kind, tmp_path):
    change, name = OTHER_MODELS[kind]
    first, other = document(scores=accuracy(0.4)), document(scores=accuracy(0.6), **change)
    for number, documents in enumerate([(first, other), (other, first)]):
        found, notes = rows(tmp_path / str(number), *documents)
        assert len(found) == 2
        assert found[name].scores["arc_easy"].value == 0.6
        (base,) = set(found) - {name}
        assert found[base].scores["arc_easy"].value == 0.4
        assert not any("replaces" in note for note in notes)


@pytest.mark.parametrize("kind", OTHER_MODELS)
def test_tasks_of_another_model_never_join_a_row(kind, tmp_path):
    change, _ = OTHER_MODELS[kind]
    found, _ = rows(
        tmp_path, document(scores=accuracy(0.4)), document(scores=accuracy(0.6, "piqa"), **change)
    )
    assert sorted(sorted(target.scores) for target in found.values()) == [["arc_easy"], ["piqa"]]


@pytest.mark.parametrize("kind", SAME_MODEL)
def test_the_newest_of_one_model_counts_and_that_is_said(kind, tmp_path):
    found, notes = rows(
        tmp_path, document(scores=accuracy(0.4)), document(scores=accuracy(0.6), **SAME_MODEL[kind])
    )
    assert {name: t.scores["arc_easy"].value for name, t in found.items()} == {"m-1B": 0.6}
    (note,) = [note for note in notes if "replaces" in note]
    assert "run0" in note
    assert "run1" in note


def test_names_are_as_short_as_can_be(tmp_path):
    changes = ({"args": "revision=step1"}, {"args": "revision=step2"}, {"model": "/data/small/checkpoint-5000"},
               {"model": "/data/large/checkpoint-5000"}, {"model": "lab/alone"})  # fmt: skip
    found, _ = rows(tmp_path, *[document(**change) for change in changes])
    assert set(found) == {
        "m-1B@step1", "m-1B@step2", "small/checkpoint-5000", "large/checkpoint-5000", "alone",
    }  # fmt: skip


KEYS = st.sampled_from(
    ["revision", "sha", "peft", "dtype", "shots", "thresholds", "record", "gptqmodel", "x", "limit"]
)
TEXTS = st.sampled_from(
    ["a", "b", "0123456789abcdef" * 4, "0123456789abcdee" * 4, "True", "true", "a (x)", "a@b"]
)
NAMES = st.lists(st.sampled_from(["a", "b", "m@a", "m (x=a)"]), min_size=1, max_size=3).map("/".join)
IDENTITIES = st.builds(
    Identity, NAMES, st.dictionaries(KEYS, TEXTS, max_size=4).map(lambda parts: tuple(sorted(parts.items())))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(IDENTITIES, min_size=1, max_size=8))
def test_labels_tell_all_identities_apart(identities):
    found = labels(identities)
    assert set(found) == set(identities)
    assert len(set(found.values())) == len(found)


VALUES = [
    '{"type":"linear","factor":4}', '{"type":"linear","factor":8}', "'a,b=1'", "'a,b=2'", "(1,2)", "(1,3)", "a,b",
    "a,c", "bob's,1", "bob's,2", "True", "False",
]  # fmt: skip


@pytest.mark.parametrize("key", ["rope_scaling", "hf_overrides", "quantization_config", "some_switch"])
def test_all_of_a_value_is_part_of_the_identity(key):
    identities = [identity_of(document(args=f"{key}={value},revision=r"), fallback="x") for value in VALUES]
    assert len(set(identities)) == len(VALUES)
    assert {identity.get("revision") for identity in identities} == {"r"}


@pytest.mark.parametrize("value", [True, False, None, 4096, 0.5, "nf4"])
@pytest.mark.parametrize("key", ["load_in_4bit", "add_bos_token", "some_switch"])
def test_arguments_as_a_text_and_as_a_mapping_are_the_same(key, value):
    mapping = {"model_args": {"pretrained": "lab/m-1B", key: value}}
    as_mapping = identity_of(document(config=mapping), fallback="x")
    assert identity_of(document(args=f"{key}={value}"), fallback="x") == as_mapping


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{5,9}_q", fullmatch=True), st.integers(1, 9), max_size=3))
def test_any_argument_that_is_not_known_is_part_of_the_identity(arguments):
    plain = identity_of(document(), fallback="x")
    text = ",".join(f"{key}={value}" for key, value in arguments.items())
    assert (identity_of(document(args=text), fallback="x") == plain) == (not arguments)


def test_several_numbers_of_shots_are_rows_of_their_own(tmp_path):
    none, many = (
        document(scores=accuracy(0.4)),
        document(scores=accuracy(0.6), **{"n-shot": {"arc_easy": 25}}),
    )
    found, notes = rows(tmp_path / "one", none, many)
    assert {name: t.scores["arc_easy"].value for name, t in found.items()} == {
        "m-1B (0-shot)": 0.4, "m-1B (25-shot)": 0.6,
    }  # fmt: skip
    assert any("shots" in note for note in notes)
    other = document(scores=accuracy(0.7, "piqa"), **{"n-shot": {"piqa": 5}})
    found, _ = rows(tmp_path / "two", none, other)  # each task has one number: one model, one row
    assert sorted(found["m-1B"].scores) == ["arc_easy", "piqa"]


def table(tmp_path, *lines):
    path = tmp_path / "models.csv"
    path.write_text("\n".join(["model,params_b,train_tokens_t,release_date", *lines]) + "\n")
    return path


def test_a_row_of_the_base_name_serves_its_variants(tmp_path):
    models = table(tmp_path, "m-1B,1.2,2,2024-05-06", "m-1B@step1000,1.2,0.002,2024-01-01")
    found, notes = rows(
        tmp_path / "r", document(), document(args="peft=me/lora"), document(args="revision=step1000"),
        document(args="revision=step2000"), models=models,
    )  # fmt: skip
    assert (found["m-1B (peft=me/lora)"].released.month, found["m-1B"].params) == (5, 1.2e9)
    assert found["m-1B (peft=me/lora)"].params == 1e9  # lm-eval's count has the adapter in it
    assert found["m-1B@step1000"].tokens == 2e9
    assert found["m-1B@step2000"].tokens is None  # the tokens of the whole run are not those of a revision
    assert any("m-1B@step2000: the training tokens" in note for note in notes)
    assert [note for note in notes if "the row" in note] == [
        f"the row 'm-1B' of {models} is taken for m-1B (peft=me/lora), m-1B@step2000"
    ]


@pytest.mark.parametrize("row", ["m-1B", "lab/m-1B", "./lab/m-1B/", "lab//m-1B"])
@pytest.mark.parametrize("model", ["lab/m-1B", "./lab/m-1B"])
def test_a_row_under_any_spelling_of_the_path_is_taken_without_a_word(row, model, tmp_path):
    models = table(tmp_path, f"{row},1.2,2,2024-05-06")
    found, notes = rows(tmp_path / "r", document(model=model), models=models)
    assert found["m-1B"].params == 1.2e9
    assert not [note for note in notes if "the row" in note]


@pytest.mark.parametrize("order", [1, -1])
def test_a_full_name_goes_before_a_short_one(order, tmp_path):
    models = table(tmp_path, *["lab/m-1B,1.2,,", "m-1B,3,,"][::order])
    found, _ = rows(tmp_path / "r", document(), models=models)
    assert found["m-1B"].params == 1.2e9


@pytest.mark.parametrize(
    ("lines", "names", "words"),
    [
        (["here/m-1B,1,,", "there/m-1B,1,,"], ["/data/m-1B"], ["here/m-1B", "there/m-1B"]),
        (
            ["checkpoint-5,1,,"],
            ["/a/checkpoint-5", "/b/checkpoint-5"],
            ["/a/checkpoint-5", "/b/checkpoint-5"],
        ),
        (["lab/m-1B,1,,", "./lab/m-1B/,2,,"], ["lab/m-1B"], ["two rows", "./lab/m-1B/"]),
        (["other,1,,"], ["lab/m-1B"], ["no row for the model m-1B"]),
    ],
)
def test_rows_that_fit_several_models_and_models_that_fit_several_rows(lines, names, words, tmp_path):
    with pytest.raises(SparsityLabError) as caught:
        rows(tmp_path / "r", *[document(model=name) for name in names], models=table(tmp_path, *lines))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"args": "gptqmodel=True", "params": 1.9e8},
            ["not to be trusted under gptqmodel", "its name says 1e+09"],
        ),
        ({"args": "peft=me/lora", "params": 1.01e9}, ["include those of peft"]),
        ({"model": "lab/m-7B-AWQ", "params": 1.1e9}, ["its name says 7e+09"]),
        ({"params": 1.01e9}, []),
    ],
)
def test_a_count_of_parameters_that_cannot_be_trusted_is_said(change, words, tmp_path):
    _, notes = rows(tmp_path, document(**change))
    said = [note for note in notes if "parameters" in note]
    assert all(any(word in note for note in said) for word in words)
    assert bool(said) == bool(words)


def test_a_table_that_disagrees_with_the_count(tmp_path):
    found, notes = rows(tmp_path / "r", document(params=2e9), models=table(tmp_path, "m-1B,1,,"))
    assert found["m-1B"].params == 1e9
    assert any("1e+09 parameters in" in note and "2e+09" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "size"),
    [("Llama-2-7b-hf", 7e9), ("opt-125m", 1.25e8), ("Mixtral-8x7B", None), ("SmolLM-135M-100B", None),
     ("Llama-2-7b-4bit", 7e9), ("checkpoint-5000", None), ("pythia-1.4b", 1.4e9)],
)  # fmt: skip
def test_sizes_in_names(name, size):
    assert nominal_size(name) == size


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_what_is_not_finite_loses_its_own_metric_alone(value, tmp_path):
    text = json.dumps(
        document(scores={"lambada_openai": {"perplexity,none": -77, "acc,none": 0.3}, **accuracy(0.5)})
    ).replace("-77", value)
    (tmp_path / "results_2024-09-01T10-00-00.json").write_text(text)
    notes = Notes()
    (target,) = targets_of(read_evaluations(tmp_path, notes=notes))
    assert {task: score.value for task, score in target.scores.items()} == {
        "lambada_openai": 0.3,
        "arc_easy": 0.5,
    }
    assert any("perplexity of lambada_openai" in note for note in notes)


def test_a_score_that_is_not_finite_leaves_the_task_out(tmp_path):
    text = json.dumps(document(scores={"piqa": {"acc,none": -77}, **accuracy(0.5)})).replace("-77", "NaN")
    (tmp_path / "results_2024-09-01T10-00-00.json").write_text(text)
    notes = Notes()
    (target,) = targets_of(read_evaluations(tmp_path, notes=notes))
    assert list(target.scores) == ["arc_easy"]
    assert any("acc of piqa is nan" in note for note in notes)


def test_results_under_a_name_of_ones_own_are_found(tmp_path):
    (tmp_path / "mine_2024-09-01T10-00-00.000001.json").write_text(json.dumps(document()))
    assert [target.model for target in targets_of(read_evaluations(tmp_path))] == ["m-1B"]


def test_linked_folders_are_searched_each_once(tmp_path):
    write_results(tmp_path / "elsewhere", document(model="lab/far"))
    write_results(tmp_path / "r", document(model="lab/near"))
    (tmp_path / "r" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "r" / "circle").symlink_to(tmp_path / "r")
    notes = Notes()
    assert {t.model for t in targets_of(read_evaluations(tmp_path / "r", notes=notes))} == {"near", "far"}
    assert not any("replaces" in note for note in notes)


@pytest.mark.parametrize(("first", "second", "names"), [
    (1e9, 2e9, ["m (parameters=1000000000)", "m (parameters=2000000000)"]),
    (1e9, 1e9, ["m"]), (1e9, None, ["m"]), (None, None, ["m"]),
])  # fmt: skip
def test_models_of_several_sizes_under_one_path_never_join_a_row(first, second, names, tmp_path):
    found, notes = rows(
        tmp_path, document(model="/data/m", scores=accuracy(0.5), params=first),
        document(model="/data/m", scores=accuracy(0.7, "piqa"), params=second),
    )  # fmt: skip
    assert sorted(found) == names
    assert any("several sizes" in note for note in notes) == (len(names) > 1)


@pytest.mark.parametrize("count", [0, -1, 10**400, "1000", True, None])
def test_a_count_that_is_none(count, tmp_path):
    assert rows(tmp_path, document(params=count))[0]["m-1B"].params is None
