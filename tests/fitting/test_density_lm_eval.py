"""Reading lm-eval: samples as it logs them, and the shapes its task types give them."""

import json
import math

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.answer_loss import answer_loss, gold_answer
from sparsity_lab.fitting.density.lm_eval.results import ladder_of, read_evaluations, targets_of
from sparsity_lab.fitting.density.notes import Notes


def sample(question, answers, log_likelihoods, target):
    return {
        "doc": {"choices": answers},
        "target": target,
        "arguments": {f"gen_args_{i}": {"arg_0": question, "arg_1": a} for i, a in enumerate(answers)},
        "filtered_resps": [[str(v), "False"] for v in log_likelihoods],
    }


def write(
    folder, model, samples, *, score=0.5, date="2026-01-02T03-04-05", params=1000, note=None, task="mc"
):
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "results": {task: {"alias": task, "acc,none": score, "acc_stderr,none": 0.1}},
        "n-samples": {task: {"effective": len(samples)}},
        "config": {"model_args": {"pretrained": model}, "model_num_parameters": params},
        "model_name": model,
    }
    if note:
        document["sparsity_lab"] = {"setting": note}
    (folder / f"results_{date}.json").write_text(json.dumps(document))
    lines = "\n".join(json.dumps(s) for s in samples)
    (folder / f"samples_{task}_{date}.jsonl").write_text(lines + "\n")


def test_the_gold_answer_of_each_shape():
    where = "x"
    choice = sample("Q", [" a", " bcd"], [-1.0, -2.5], "1")
    assert gold_answer(choice, where=where) == ("Q", " bcd", -2.5)
    by_name = sample("Q", [" a", " bcd"], [-1.0, -2.5], " bcd")
    by_name["doc"] = {"choices": {"text": ["a", "bcd"], "label": ["A", "B"]}}
    assert gold_answer(by_name, where=where) == ("Q", " bcd", -2.5)
    several = sample("Q", [" a", " bcd"], [-1.0, -2.5], "[1, 0]")
    assert gold_answer(several, where=where)[2] == -2.5
    plain = sample("Q", [" rest"], [-3.0], " rest")
    assert gold_answer(plain, where=where) == ("Q", " rest", -3.0)
    generated = {"target": "4", "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": []}}},
                 "filtered_resps": ["4"]}  # fmt: skip
    assert gold_answer(generated, where=where) is None


def winogrande(likelihoods, *, right):
    """As lm-eval logs it: the questions differ, the answer is the same, and its number is told nowhere."""
    asked = {f"gen_args_{i}": {"arg_0": f"Q{i}", "arg_1": " goes on"} for i in range(2)}
    return {
        "doc": {"sentence": "_ goes on", "option1": "Q0", "option2": "Q1", "answer": str(right + 1)},
        "target": "goes on", "arguments": asked, "acc": float((likelihoods[1] > likelihoods[0]) == right),
        "filtered_resps": [[str(v), "False"] for v in likelihoods],
    }  # fmt: skip


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("likelihoods", [(-1.0, -2.0), (-2.0, -1.0)])
def test_the_gold_question_where_only_questions_differ(likelihoods, right):
    found = gold_answer(winogrande(likelihoods, right=right), where="x")
    assert found == (f"Q{right}", " goes on", likelihoods[right])


@pytest.mark.parametrize("target", ["maybe", " maybe", "['maybe']", "2", "[2]"])
@pytest.mark.parametrize("doc", [{}, {"choices": None}, {"choices": ["A", "B", "C"]}])
def test_a_gold_answer_by_its_text_or_number(target, doc):
    logged = sample("Q", [" yes", " no", " maybe"], [-1.0, -2.0, -3.0], target) | {"doc": doc}
    assert gold_answer(logged, where="x") == ("Q", " maybe", -3.0)


@pytest.mark.parametrize(
    ("target", "likelihoods"),
    [("-1", (-1, -2)), ("7", (-1, -2)), ("neither", (-1, -2)), ("0", ("-inf", -2)), ("1", (-1, "nan"))],
)
def test_a_gold_answer_that_is_not_told_costs_the_losses_alone(tmp_path, target, likelihoods):
    good = sample("Q", [" a", " b"], [-1.0, -2.0], "1")
    write(tmp_path / "a", "m", [good, sample("Q", [" a", " b"], likelihoods, target)])
    notes = Notes()
    (evaluation,) = read_evaluations(tmp_path, notes=notes)
    assert evaluation.tasks["mc"].score.value == 0.5
    assert evaluation.tasks["mc"].loss is None
    assert sum("no losses from samples_mc" in note and "line 2" in note for note in notes) == 1


def test_models_without_a_tokenizer_are_named_once(tmp_path):
    for number in range(9):
        write(tmp_path / f"{number}", f"m{number}", [sample("Q", [" a", " b"], [-1.0, -2.0], "1")])
    notes = Notes()
    read_evaluations(tmp_path, notes=notes)
    assert [note for note in notes if "tokenizer" in note] == [
        "losses in bits per byte only, without a tokenizer.json that fits: m0, m1, m2, m3, m4, m5 and 3 more"
    ]


def test_losses_are_per_byte_and_per_token(tmp_path):
    path = tmp_path / "samples_mc_d.jsonl"
    samples = [sample("Q", [" ab", " é"], [-1.0, -2.0], "0"), sample("Q", [" ab", " é"], [-1.0, -2.0], "1")]
    path.write_text("\n".join(map(json.dumps, samples)))
    found = answer_loss(path, count_tokens=lambda question, answer: 4)
    # " ab" has two bytes without its blank, " é" has two as well.
    each = [1 / (2 * math.log(2)), 2 / (2 * math.log(2))]
    assert found.bits_per_byte == pytest.approx(sum(each) / 2)
    assert found.bits_per_byte_se == pytest.approx((each[1] - each[0]) / 2)
    assert found.nats_per_token == pytest.approx((0.25 + 0.5) / 2)
    assert answer_loss(path).nats_per_token is None


def test_broken_samples_name_the_line(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(sample("Q", [" a"], [-1.0], "")) + "\n{}\n")
    with pytest.raises(SparsityLabError, match="line 2"):
        answer_loss(path)
    path.write_text("not json\n")
    with pytest.raises(SparsityLabError, match="Cannot read"):
        answer_loss(path)


def test_the_newest_result_counts_and_sparse_runs_are_models_of_their_own(tmp_path):
    one = [sample("Q", [" a"], [-1.0], "")]
    write(tmp_path / "m", "lab/m-1B", one, score=0.3, date="2026-01-01T00-00-00")
    write(tmp_path / "m", "lab/m-1B", one, score=0.6, date="2026-01-02T00-00-00")
    write(tmp_path / "s", "lab/m-1B", one, score=0.5, note="PPL-1%")
    targets = {t.model: t for t in targets_of(read_evaluations(tmp_path))}
    assert targets["m-1B"].scores["mc"].value == 0.6
    assert targets["m-1B at PPL-1%"].scores["mc"].value == 0.5
    assert targets["m-1B"].family == "m"
    assert targets["m-1B"].params == 1000


def test_sizes_tokens_and_dates_from_a_table(tmp_path):
    write(tmp_path / "r" / "m", "lab/m-1B", [sample("Q", [" a"], [-1.0], "")])
    table = tmp_path / "models.csv"
    table.write_text("model,params,train_tokens_t,release_date,family\nm-1B,1e9,2,2024-05-06,mine\n")
    (found,) = read_evaluations(tmp_path / "r", models=table)
    assert (found.target.params, found.target.tokens, found.target.family) == (1e9, 2e12, "mine")
    ladder = ladder_of([found])
    assert ladder.runs[0].tokens == 2e12
    assert ladder.units["mc"].startswith("bits")
    table.write_text("model,params\nother,1e9\n")
    with pytest.raises(SparsityLabError, match="no row for the model m-1B"):
        read_evaluations(tmp_path / "r", models=table)


def test_no_results(tmp_path):
    with pytest.raises(SparsityLabError, match="no lm-eval results"):
        read_evaluations(tmp_path)
    (tmp_path / "results_x.json").write_text("{}")
    with pytest.raises(SparsityLabError, match="not an lm-eval result"):
        read_evaluations(tmp_path)


def test_a_two_step_ruler_from_results_with_losses(tmp_path):
    """Twelve planted models: their losses follow a known law, and the ruler from their samples finds it."""
    from sparsity_lab.fitting.density.rulers.build import RulerOptions, build_ruler

    rows = ["model,params,train_tokens_t"]
    for params in (1e8, 3e8, 1e9, 3e9):
        for tokens in (1e10, 5e10, 2.5e11):
            name = f"m-{params:g}-{tokens:g}"
            bits = 20 * params**-0.2 + 300 * tokens**-0.3 + 0.4
            answers = [sample("Q", [" abcd"], [-bits * 4 * math.log(2)], "") for _ in range(3)]
            score = 1 / (1 + math.exp(4 * (bits - 0.9)))
            write(tmp_path / "r" / name, name, answers, score=score, params=int(params))
            rows.append(f"{name},{params},{tokens / 1e12}")
    (tmp_path / "models.csv").write_text("\n".join(rows) + "\n")
    options = RulerOptions("mine", models=tmp_path / "models.csv", draws=3)
    built = build_ruler(tmp_path / "r", output=tmp_path / "out", options=options)
    assert built.ruler.form == "two-step"
    assert built.ruler.loss_units["mc"].startswith("bits")
    bits = 20 * 2e9**-0.2 + 300 * 1e12**-0.3 + 0.4
    expected = 1 / (1 + math.exp(4 * (bits - 0.9)))
    assert float(built.ruler.curve(("mc",)).score(math.log(2e9))[0]) == pytest.approx(expected, abs=0.01)
    assert {path.suffix for path in built.files} == {".json", ".png", ".svg"}


def test_answers_without_tokens_or_bytes_are_no_losses(tmp_path, caplog):
    """A tokenizer that gives an answer no token is not the one that logged it; an empty answer has no bytes."""
    path = tmp_path / "samples_mc_d.jsonl"
    path.write_text("\n".join(json.dumps(sample("Q", [answer], [-9.0], "0")) for answer in (" ab", " cd")))
    for counts in ((0, 3), (3, -2), (0, 0)):
        caplog.clear()
        each = iter(counts)
        found = answer_loss(path, count_tokens=lambda question, answer, each=each: next(each))
        assert found.nats_per_token is None
        assert found.bits_per_byte == pytest.approx(9 / (2 * math.log(2)))
        assert f"{sum(n < 1 for n in counts)} of 2 answers have no token" in caplog.text
    path.write_text(json.dumps(sample("Q", [" "], [-9.0], "0")))
    with pytest.raises(SparsityLabError, match=r"line 1 is empty"):
        answer_loss(path)
