"""Tables of models are checked at the door, and the message names the row."""

from datetime import date

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.ladder import is_ladder, read_ladder
from sparsity_lab.fitting.density.scores.sizes import SizeConvention, size_of
from sparsity_lab.fitting.density.scores.targets import (
    Target,
    bundled_targets,
    family_of,
    read_models,
    read_targets,
)

HEADER = "model,params_b,release_date,MMLU,BBH\n"


def write(tmp_path, text):
    path = tmp_path / "models.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_percent_and_fractions_alike(tmp_path):
    percent = read_targets(write(tmp_path, HEADER + "a-7B,7,2024-01-02,50,30\n"))
    fraction = read_targets(write(tmp_path, HEADER + "a-7B,7,2024-01-02,0.5,0.3\n"))
    assert percent == fraction
    (target,) = percent
    assert (target.params, target.released, target.family) == (7e9, date(2024, 1, 2), "a")
    assert target.scores["MMLU"].value == 0.5


def test_counts_and_questions_and_errors(tmp_path):
    text = "model,params,MMLU,MMLU_n,MMLU_se\nx,7e9,50,100,2\n"
    (target,) = read_targets(write(tmp_path, text))
    assert (target.params, target.scores["MMLU"].questions, target.scores["MMLU"].se) == (7e9, 100, 0.02)


def test_a_low_percentage_beside_larger_ones_is_taken_at_its_word(tmp_path):
    rows = "a-7B,7,2024-01-02,24.3,0.7\nb-7B,7,2024-01-02,50,30\n"
    assert read_targets(write(tmp_path, HEADER + rows))[0].scores["BBH"].value == pytest.approx(0.007)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,7,2024-01-02,50,30\nb,7,2024-01-02,.6,.4\n", ["row 3", "fractions"]),
        ("a,7,2024-01-02,50,.3\nb,7,2024-01-02,60,.4\nc,7,,70,.5\n", ["column BBH", "fractions"]),
        ("a,7,02.01.2024,50,30\n", ["row 2", "release_date", "no date"]),
        ("a,7,2024-13-02,50,30\n", ["row 2", "release_date"]),
        ("a,7,,50,30\nb,8,,50,30\na,9,,50,30\n", ["'a'", "row 2", "row 4"]),
        ("a,7e9,,50,30\n", ["row 2", "params_b", "7e+18"]),
        ("a,7e-9,,50,30\n", ["row 2", "params_b", "7 parameters"]),
        ("a,big,,50,30\n", ["row 2", "params_b", "'big'"]),
        ("a,7,,120,30\n", ["row 2", "MMLU", "120"]),
        ("a,7,,nan,30\n", ["row 2", "MMLU"]),
        (",7,,50,30\n", ["row 2", "model", "empty"]),
        ("a,7,,50\n", ["row 2", "4 cells"]),
        ("\na,7,,50,30\n\nb,7,x,50,30\n", ["row 5", "release_date"]),
        ("", ["no rows"]),
    ],
)
def test_bad_tables(tmp_path, rows, words):
    with pytest.raises(SparsityLabError) as caught:
        read_targets(write(tmp_path, HEADER + rows))
    for word in words:
        assert word in str(caught.value)


def test_a_count_of_parameters_in_the_wrong_unit(tmp_path):
    with pytest.raises(SparsityLabError, match=r"row 2, column params.*7 parameters"):
        read_targets(write(tmp_path, "model,params,MMLU\na,7e-0,50\n"))


def test_tables_without_size_or_scores(tmp_path):
    with pytest.raises(SparsityLabError, match="size"):
        read_targets(write(tmp_path, "model,MMLU\na,50\n"))
    with pytest.raises(SparsityLabError, match="scores"):
        read_targets(write(tmp_path, "model,params_b\na,7\n"))
    with pytest.raises(SparsityLabError, match="Cannot read"):
        read_targets(tmp_path / "none.csv")


def test_the_bundled_table():
    targets = bundled_targets()
    assert len({t.model for t in targets}) == len(targets) == 71
    dated_dense = [t for t in targets if t.released and not t.moe]
    assert len(dated_dense) == 63
    baichuan = next(t for t in targets if t.model == "Baichuan2-13B")
    assert baichuan.scores["GSM8K"].value == pytest.approx(0.528)
    assert min(baichuan.scores["GSM8K"].published) == pytest.approx(0.221)
    assert sum(len(t.scores) for t in targets) == 379


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen2.5"),
        ("meta-llama/Llama-2-7b-hf", "Llama-2"),
        ("Phi-2", "Phi-2"),
        ("lab/m-1B/", "m"),
        ("/data/runs/m-1B/", "m"),
    ],
)
def test_families(model, family):
    assert family_of(model) == family


WORDS = "model,params_b,licence,MMLU,BBH\na-7B,7,apache-2.0,50,30\nb-7B,7,mit,60,40\n"


def read(tmp_path, text, **options):
    notes = Notes()
    return read_targets(write(tmp_path, text), notes=notes, **options), notes


@pytest.mark.parametrize("tasks", [None, ("MMLU",), ("mmlu", "bbh"), ("BBH",)])
def test_a_column_of_words_is_no_task(tmp_path, tasks):
    targets, notes = read(tmp_path, WORDS, tasks=tasks)
    names = {"mmlu": "MMLU", "bbh": "BBH"}
    assert set(targets[0].scores) == {names.get(task, task) for task in tasks or ("MMLU", "BBH")}
    assert any("not read: licence" in note for note in notes)


def test_a_column_that_is_not_asked_for_may_hold_anything(tmp_path):
    text = "model,params_b,layers,MMLU\na-7B,7,24,0.5\nb-7B,7,n/a,0.6\n"
    targets, notes = read(tmp_path, text, tasks=("MMLU",))
    assert [target.scores["MMLU"].value for target in targets] == [0.5, 0.6]
    assert any("not read: layers" in note for note in notes)


@pytest.mark.parametrize("word", ["N/A", "NA", "n/a", "#N/A", "-", "\N{EM DASH}", "none", "null", "?", ""])
def test_no_score_in_any_words(tmp_path, word):
    targets, notes = read(tmp_path, HEADER + f"a-7B,7,{word},{word},30\nb-7B,7,2024-01-02,60,40\n")
    assert set(targets[0].scores) == {"BBH"}
    assert targets[0].released is None
    assert any("read as no score" in note for note in notes) == bool(word)


@pytest.mark.parametrize(
    ("rows", "unit"), [("a,7,,50,30\n", "percent"), ("a,7,,0.5,0.3\n", "fractions of 1")]
)
def test_the_unit_of_the_scores_is_said(tmp_path, rows, unit):
    assert any(note.endswith(f"are {unit}") for note in read(tmp_path, HEADER + rows)[1])


@pytest.mark.parametrize(
    ("column", "cell", "tokens"),
    [("tokens", "3e11", 3e11), ("tokens", "300000000000", 3e11), ("tokens_b", "300", 3e11),
     ("train_tokens", "3e11", 3e11), ("train_tokens_b", "300", 3e11), ("train_tokens_t", "0.3", 3e11)],
)  # fmt: skip
def test_training_tokens_in_each_unit(tmp_path, column, cell, tokens):
    text = f"model,params_b,{column}\na-7B,7,{cell}\n"
    notes = Notes()
    assert read_models(write(tmp_path, text), notes=notes)["a-7B"].tokens == pytest.approx(tokens)
    assert any(column in note and "units" in note for note in notes)
    assert read_targets(write(tmp_path, text.replace("\n", ",MMLU\n", 1).replace(cell, f"{cell},50")))[
        0
    ].tokens == (pytest.approx(tokens))


@pytest.mark.parametrize(
    ("header", "cells", "words"),
    [
        ("params_b,tokens", "7,300", ["row 2, column tokens", "300 tokens"]),
        ("params_b,tokens_b", "7,3e11", ["row 2, column tokens_b", "1e+09"]),
        ("params_b,tokens,train_tokens_t", "7,3e11,2", ["row 2", "column train_tokens_t", "2e+12"]),
        ("params_b,params", "7,8e9", ["row 2, column params", "7e+09"]),
        ("params_b,tokens_m", "7,300000", ["'tokens_m'", "tokens_b"]),
        ("params_b,training tokens", "7,300000", ["'training tokens'"]),
        ("params_b,n_params", "7,7", ["'n_params'"]),
        ("params_b,released", "7,2024-01-01", ["'released'", "release_date"]),
        ("params_b,Date", "7,2024-01-01", ["'Date'"]),
    ],
)
@pytest.mark.parametrize("scores", [True, False])
def test_sizes_tokens_and_dates_are_read_or_refused(tmp_path, header, cells, words, scores):
    extra = (",MMLU", ",50") if scores else ("", "")
    path = write(tmp_path, f"model,{header}{extra[0]}\na-7B,{cells}{extra[1]}\n")
    with pytest.raises(SparsityLabError) as caught:
        read_targets(path) if scores else read_models(path)
    for word in words:
        assert word in str(caught.value)


def test_columns_that_are_not_read_are_named(tmp_path):
    notes = Notes()
    read_models(write(tmp_path, "model,params_b,licence,MMLU\na-7B,7,mit,50\n"), notes=notes)
    assert any("not read: licence, MMLU" in note for note in notes)


@pytest.mark.parametrize(
    "columns", ["MMLU,mmlu", "ARC-C,arc_challenge", "Winograd,winogrande", "hellaswag,HellaSwag"]
)
def test_one_benchmark_in_two_columns(tmp_path, columns):
    with pytest.raises(SparsityLabError, match=columns.replace(",", " and ")):
        read_targets(write(tmp_path, f"model,params_b,{columns}\na-7B,7,50,60\n"))


@pytest.mark.parametrize("again", ["a-7B", "A-7b"])
def test_a_model_twice(tmp_path, again):
    for reader in (read_targets, read_models):
        with pytest.raises(SparsityLabError, match="row 2 and row 3"):
            reader(write(tmp_path, f"model,params_b,MMLU\na-7B,7,50\n{again},8,60\n"))


def test_families_are_stated_or_said_to_be_guessed(tmp_path):
    rows = "pythia-1b,1,,50,30\npythia-7b,7,,60,40\nOPT-1b,1,,50,30\n"
    assert any("guessed from names: OPT, pythia" in note for note in read(tmp_path, HEADER + rows)[1])
    stated = "model,params_b,family,MMLU\npythia-1b,1,EleutherAI,50\n"
    targets, notes = read(tmp_path, stated)
    assert targets[0].family == "EleutherAI"
    assert not any("guessed" in note for note in notes)


def test_an_error_of_a_score_has_the_unit_of_the_score(tmp_path):
    with pytest.raises(SparsityLabError, match="row 2, column MMLU_se"):
        read_targets(write(tmp_path, "model,params_b,MMLU,MMLU_se\na-7B,7,0.5,1.2\n"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,1e9,26.2,1.0,.5\n", ["row 2, column tokens"]),
        ("a,1e9,2e10,1.0,.5\na,1e9,1e10,1.1,.4\n", ["row 3, column tokens", "Sort"]),
        ("a,1e9,2e10,1.0,.5\na,1e9,2e10,1.0,.5\n", ["row 3, column tokens"]),
        ("a,1e9,2e10,0,.5\n", ["row 2, column x_bpb"]),
    ],
)
def test_rows_of_a_ladder_that_cannot_be_right(tmp_path, rows, words):
    with pytest.raises(SparsityLabError) as caught:
        read_ladder(write(tmp_path, "run,params,tokens,x_bpb,x_acc\n" + rows))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "roles", [("Target", "Target"), ("target", "reference"), ("held-out", ""), ("x", "x")]
)
def test_roles_of_a_ladder_are_known_and_one_a_run(tmp_path, roles):
    rows = "".join(f"a,1e9,{i}e10,1,.5,{role}\n" for i, role in enumerate(roles, start=1))
    with pytest.raises(SparsityLabError, match="column role"):
        read_ladder(write(tmp_path, "run,params,tokens,x_bpb,x_acc,role\n" + rows))


def test_a_table_of_runs_is_a_ladder_whatever_its_units(tmp_path):
    assert is_ladder(["run", "params", "tokens_b", "x_bpb", "x_acc"])
    assert not is_ladder(["model", "run", "params", "tokens"])
    notes = Notes()
    read_ladder(write(tmp_path, "run,params,tokens,x_bpb,x_acc,role\na,1e9,2e10,1,.5,\n"), notes=notes)
    assert any("params and tokens (counts)" in note for note in notes)


def test_columns_of_a_ladder_that_are_not_read(tmp_path):
    notes = Notes()
    read_ladder(write(tmp_path, "run,params,tokens,x_bpb,x_acc,y_bpb\na,1e9,2e10,1,.5,1\n"), notes=notes)
    assert any("not read: y_bpb" in note for note in notes)
    with pytest.raises(SparsityLabError, match="x in two units"):
        read_ladder(write(tmp_path, "run,params,tokens,x_bpb,x_nats,x_acc\na,1e9,2e10,1,1,.5\n"))


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("rank", "1,2,3"), ("context", "4096,8192,4096"), ("version", "2,2.5-instruct,beta"), ("delta", "-1,0,2"),
        ("licence", "mit,2,mit"), ("layers", "24,n/a,32"), ("perplexity", "nan,inf,7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale", [1, 100])
def test_other_columns_change_neither_the_unit_nor_the_scores(tmp_path, column, cells, scale):
    rows = "".join(f"m{i}-7B,7,{cell},{0.6 * scale}\n" for i, cell in enumerate(cells.split(",")))
    targets, notes = read(tmp_path, f"model,params_b,{column},MMLU\n{rows}")
    assert [target.scores["MMLU"].value for target in targets] == pytest.approx([0.6] * 3)
    assert any(f"not read: {column}" in note for note in notes) or column in targets[0].scores


@pytest.mark.parametrize("scores", ["0.5", "0.5,0.9"])
def test_scores_that_may_be_fractions_among_percent_are_said(tmp_path, scores):
    rows = "".join(f"m{i}-7B,7,60,{score}\n" for i, score in enumerate(scores.split(",")))
    assert any("GSM8K never exceed 1" in n for n in read(tmp_path, f"model,params_b,MMLU,GSM8K\n{rows}")[1])
    assert not any("exceed" in n for n in read(tmp_path, "model,params_b,MMLU,GSM8K\na-7B,7,60,4\n")[1])
    assert not any("exceed" in n for n in read(tmp_path, "model,params_b,MMLU,GSM8K\na-7B,7,0.6,0.4\n")[1])


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("params_active_b", "70", ["row 2, column params_active_b", "7e+09"]),
        ("params_nonembedding_b", "8", ["row 2, column params_nonembedding_b"]),
        ("release_date", "0024-01-01", ["row 2, column release_date"]),
        ("release_date", "2204-01-01", ["row 2, column release_date"]),
    ],
)
def test_what_no_model_has_is_refused(tmp_path, column, cell, words):
    for reader in (read_targets, read_models):
        with pytest.raises(SparsityLabError) as caught:
            reader(write(tmp_path, f"model,params_b,{column},MMLU\na-7B,7,{cell},50\n"))
        assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("moe", "active", "embeddings", "size"),
    [(True, 2e9, True, 2e9), (True, None, True, None), (False, None, True, 7e9), (True, 2e9, False, None)],
)
def test_active_parameters_are_never_the_total_of_a_mixture(moe, active, embeddings, size):
    target = Target("m", "F", 7e9, {}, active_params=active, nonembedding_params=6e9, moe=moe)
    assert size_of(target, SizeConvention(active=True, embeddings=embeddings)) == size


def test_a_task_that_no_model_has_is_refused(tmp_path):
    """A mean over two tasks of which nobody has one would be the other alone."""
    table = tmp_path / "models.csv"
    table.write_text("model,params_b,release_date,MMLU\nmine,7,2025-03-01,0.6\n")
    with pytest.raises(SparsityLabError, match="no task named 'GSM8K'"):
        measure_density(options=DensityOptions(ruler="Qwen2.5", targets=table, tasks=("MMLU", "GSM8K")))
