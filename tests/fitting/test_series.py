"""Tables at the door: what is read, what is refused, and that file, row and column are named."""

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.labels import counted

HEADER = "series,tokens,activation_ratio\n"


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_tokens_become_billions_and_rows_are_put_in_order(tmp_path):
    (one,) = read_series(table(tmp_path, HEADER + "a,2000000000,0.2\na,1000000000,0.3\n"))
    assert one.x.tolist() == [1.0, 2.0]
    assert one.y.tolist() == [0.3, 0.2]
    assert one.x_variable.unit == "tokens/1e9"
    assert one.y_box == (0.0, 1.0)


def test_rules_and_criteria_never_share_a_series(tmp_path):
    rows = [
        f"run,relu,{rule},{criterion},{n}0000,0.{n},0.01"
        for rule in ("fixed", "series")
        for criterion in ("cett", "top-k")
        for n in (1, 2, 3)
    ]
    header = "series,activation_function,rule,criterion,trained_tokens,activation_ratio,activation_ratio_se\n"
    found = read_series(table(tmp_path, header + "\n".join(rows) + "\n"))
    assert [s.name for s in found] == [
        "run-cett-fixed",
        "run-top-k-fixed",
        "run-cett-series",
        "run-top-k-series",
    ]
    assert all(len(s.x) == 3 and s.activation == "relu" and s.se is not None for s in found)


def test_model_and_activation_name_a_series(tmp_path):
    text = "model,activation,tokens,activation_ratio\n1B,relu,1e9,0.5\n1B,silu,1e9,0.5\n"
    assert [s.name for s in read_series(table(tmp_path, text))] == ["1B-relu", "1B-silu"]


def test_checkpoints_without_training_are_left_out(tmp_path):
    (one,) = read_series(table(tmp_path, HEADER + "a,0,0.5\na,1000000000,0.3\n"))
    assert one.x.tolist() == [1.0]


def test_any_csv_by_its_columns(tmp_path):
    text = "run,steps,loss,err\na,10,-3,0.1\na,10,4,0.2\nb,20,5,0.3\n"
    a, b = read_series(table(tmp_path, text), mapping=Columns(("steps",), "loss", "run", "err"))
    assert (a.name, b.name) == ("a", "b")
    np.testing.assert_array_equal(a.y, [-3, 4])
    assert a.y_box[0] == -np.inf
    assert a.se.tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER + "a,1,-0.1\n", "row 2, column 'activation_ratio': '-0.1'"),
        (HEADER + "a,1,0.2\na,2,1.5\n", "row 3, column 'activation_ratio': '1.5'"),
        (HEADER + "a,1,0.2\na,many,0.5\n", "row 3, column 'tokens': 'many'"),
        (HEADER + "a,1,nan\n", "row 2, column 'activation_ratio': 'nan'"),
        (HEADER + "a,-5,0.2\n", "row 2, column 'tokens': '-5'"),
        (HEADER + "a,1\n", "row 2, column 'activation_ratio'"),
        (HEADER + "a,70000,0.2\nb,70000,0.2\na,70000,0.3\n", "lines 2 and 4, column 'tokens'"),
        ("series,tokens\na,1\n", "no column 'activation_ratio'"),
        ("series,activation_ratio\na,1\n", "no column 'trained_tokens' or 'tokens'"),
        ("tokens,activation_ratio\n1,0.1\n", "no column 'series' or 'model'"),
        (HEADER, "no rows"),
        ("", "is empty"),
    ],
)
def test_faulty_tables_are_refused_with_the_place(tmp_path, text, told):
    with pytest.raises(SparsityLabError) as caught:
        read_series(table(tmp_path, text))
    assert told in caught.value.paragraph()
    assert "table.csv" in caught.value.paragraph()


def test_no_such_file(tmp_path):
    with pytest.raises(SparsityLabError, match="Cannot read the table"):
        read_series(tmp_path / "none.csv")


def test_a_mapped_column_that_is_not_there(tmp_path):
    with pytest.raises(SparsityLabError, match="no column 'stpes'"):
        read_series(table(tmp_path, "steps,loss\n1,2\n"), mapping=Columns(x=("stpes",), y="loss"))


def test_a_table_of_measure_counts_training_tokens_and_keeps_knobs_apart(tmp_path):
    header = "series,model,activation_function,criterion,rule,knob,activation_ratio,tokens,trained_tokens,"
    header += "params_nonembedding\n"
    rows = [
        f"run,step-{n},relu,cett,fixed,{k},0.{n},8192,{n}000000000,2e6" for k in (0.1, 0.2) for n in (1, 2)
    ]
    rows += [f"run,step-{n},relu,cett,ppl-increase,0.1{n},0.{n},8192,{n}000000000,2e6" for n in (1, 2)]
    found = read_series(table(tmp_path, header + "\n".join(rows) + "\n"))
    assert [s.name for s in found] == ["run-fixed-0.1", "run-fixed-0.2", "run-ppl-increase"]
    assert all(s.x.tolist() == [1.0, 2.0] and s.parameters == 2e6 for s in found)


def test_a_checkpoint_of_unknown_training_is_named(tmp_path):
    text = "series,trained_tokens,activation_ratio\na,1000,0.1\na,,0.2\n"
    with pytest.raises(SparsityLabError, match="row 3, column 'trained_tokens': ''"):
        read_series(table(tmp_path, text))


MEASURED = "series,model,rule,knob,trained_tokens,activation_ratio,content_key\n"


@pytest.mark.parametrize("blanks", [0, 1, 3])
def test_rows_of_measure_without_trained_tokens_are_left_out_and_counted(tmp_path, caplog, blanks):
    rows = [f"a,step-{n},fixed,0.1,{n}000,0.{n},k{n}" for n in range(1, 6)]
    rows += [f"a,main-{n},fixed,0.1,,0.5,m{n}" for n in range(blanks)]
    (one,) = read_series(table(tmp_path, MEASURED + "\n".join(rows) + "\n"))
    assert len(one.x) == 5, "a table of measure counts tokens, however few"
    assert one.left_out == blanks
    assert ("--tokens-per-step" in caplog.text) == bool(blanks)
    assert (f"left out {counted(blanks, 'row')} (line 7" in caplog.text) == bool(blanks)


def test_a_table_of_measure_without_any_trained_tokens_names_the_flags(tmp_path):
    with pytest.raises(SparsityLabError, match="--trained-tokens CSV, or by --tokens-per-step"):
        read_series(table(tmp_path, MEASURED + "a,step-1,fixed,0.1,,0.5,k\na,step-2,fixed,0.1,,0.4,l\n"))


def test_a_start_at_nought_is_left_out_of_any_column_and_a_negative_one_refused(tmp_path, caplog):
    text = "run,steps,loss\na,0,5\na,10,3\na,20,2.5\nb,0,5\nb,10,4\n"
    a, b = read_series(table(tmp_path, text), mapping=Columns(("steps",), "loss", "run"))
    assert (a.x.tolist(), b.x.tolist(), a.left_out, b.left_out) == ([10, 20], [10], 1, 1)
    assert "steps is 0 there" in caplog.text
    with pytest.raises(SparsityLabError, match="row 2, column 'steps': '-10'"):
        read_series(table(tmp_path, text.replace("a,0", "a,-10")), mapping=Columns(("steps",), "loss", "run"))


def test_rows_of_an_export_without_a_value_of_the_named_column_are_left_out_and_counted(tmp_path, caplog):
    text = '"Step","a - loss","a - loss__MIN","b - loss"\n'
    text += '"0","5","5",""\n"1","4","4","3"\n"2","","",""\n"3","3","3",""\n'
    (one,) = read_series(table(tmp_path, text), mapping=Columns(("Step",), "a - loss"))
    assert (one.x.tolist(), one.y.tolist(), one.left_out) == ([1, 3], [4, 3], 2)
    assert "left out 2 rows (line 2, 4): 1 have no a - loss; Step is 0 there" in caplog.text
    with pytest.raises(SparsityLabError, match="row 3, column 'a - loss': 'NaN'"):
        read_series(
            table(tmp_path, text.replace('"4","4"', '"NaN","4"')), mapping=Columns(("Step",), "a - loss")
        )


@pytest.mark.parametrize(
    ("name", "size"),
    [("0.8B", 8e8), ("model-350M-relu", 3.5e8), ("relu-2m", None), ("B", None), ("7Bit", None)],
)
def test_nominal_sizes(name, size):
    from sparsity_lab.fitting.data.series import nominal_size

    assert nominal_size(name) == size


@pytest.mark.parametrize(
    ("column", "attribute", "cells"),
    [
        ("activation", "activation", ("relu", "silu")),
        ("params", "parameters", ("1e9", "2e9")),
        ("width_depth_ratio", "width_depth_ratio", ("16", "32")),
    ],
)
def test_what_the_rows_of_a_series_say_differently_is_not_said_of_it(tmp_path, column, attribute, cells):
    text = f"series,{column},tokens,activation_ratio\n"
    rows = [f"a,{cells[0]},1e9,0.3\na,{cell},2e9,0.2\n" for cell in cells]
    same, different = (read_series(table(tmp_path, text + row))[0] for row in rows)
    assert getattr(same, attribute) is not None
    assert getattr(different, attribute) is None


def test_runs_under_each_other_without_a_name_are_reported(tmp_path, caplog):
    text = "run,step,loss\n" + "".join(
        f"{run},{step},{loss}\n" for run in "ab" for step, loss in [(10, 3), (20, 2)]
    )
    read_series(table(tmp_path, text), mapping=Columns(("step",), "loss"))
    assert "2 values of step more than once" in caplog.text
    assert "--group" in caplog.text
    caplog.clear()
    assert len(read_series(table(tmp_path, text), mapping=Columns(("step",), "loss", "run"))) == 2
    assert "more than once" not in caplog.text


@pytest.mark.parametrize(
    "mapping",
    [
        Columns(("tokens",), "tokens"),
        Columns(se="activation_ratio"),
        Columns(y="tokens"),
        Columns(se="tokens"),
    ],
)
def test_a_column_asked_for_twice_is_refused(tmp_path, mapping):
    with pytest.raises(SparsityLabError, match="asked for twice"):
        read_series(table(tmp_path, HEADER + "a,1e9,0.3\n"), mapping=mapping)
