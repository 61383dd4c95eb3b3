"""Every number that a command takes has a range; outside it one paragraph, exit 2, and nothing is written."""

import inspect
import typing

import pytest

from sparsity_lab import ranges
from sparsity_lab.cli.console.ranges import flag_of
from sparsity_lab.cli.main import app, main
from sparsity_lab.errors import SparsityLabError

VALUES = ("inf", "-inf", "nan", "-1", "0", "1e30", str(10**30), str(10**400))
# Numbers that are asked about; and one that its criterion judges, once that is known.
ANY_FINITE = {"knob", "reach"}
JUDGED_LATER = {("measure", "knob")}
FROM_NOUGHT = {
    "seed", "fit.jobs", "task_gpus", "retries", "written_tokens", "num_fewshot", "score", "bootstrap",
    "predictor_cost", "context_tokens",
}  # fmt: skip


def commands(group, path=()):
    if path and group.registered_callback is not None:
        yield path, inspect.unwrap(group.registered_callback.callback)
    for info in group.registered_commands:
        yield (*path, info.name or info.callback.__name__), inspect.unwrap(info.callback)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, (*path, inner.name))


def kinds(hint):
    if typing.get_origin(hint) is typing.Annotated:
        return kinds(hint.__origin__)
    inner = typing.get_args(hint)
    return set().union(*map(kinds, inner)) if inner else {hint}


def numeric_options():
    for path, command in commands(app):
        hints = typing.get_type_hints(command, include_extras=True)
        for name in inspect.signature(command).parameters:
            if kinds(hints[name]) & {int, float} and (*path, name) not in JUDGED_LATER:
                yield pytest.param(path, command, name, id=f"{'.'.join(path)}-{name}")


def required(command, file, *, but):
    """Words for everything that a command cannot do without."""
    words = []
    hints = typing.get_type_hints(command, include_extras=True)
    for name, one in inspect.signature(command).parameters.items():
        if one.default is not inspect.Parameter.empty or name in ("context", but) or hints[name] is None:
            continue
        value = "0.5" if kinds(hints[name]) & {float} else str(file)
        option = type(hints[name].__metadata__[0]).__name__ == "OptionInfo"
        words += [flag_of(command, name), value] if option else [value]
    return words


def accepted(path, name, value):
    key = f"{'.'.join(path)}.{name}"
    if name in ANY_FINITE:
        return value in ("-1", "0", "1e30", str(10**30))
    return value == "0" and bool({name, key} & FROM_NOUGHT)


@pytest.mark.parametrize(("path", "command", "name"), list(numeric_options()))
def test_numbers_out_of_their_range_are_refused_before_anything_begins(
    path, command, name, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file.txt"
    file.write_text("some text\n", encoding="utf-8")
    wanted, flag = ranges.range_of(name, command=".".join(path)), flag_of(command, name)
    assert wanted is not None, f"{name} of {' '.join(path)} has no range"
    for value in VALUES:
        if accepted(path, name, value):
            assert float(value) in wanted
            continue
        with pytest.raises(SystemExit) as end:
            main([*path, *required(command, file, but=name), f"{flag}={value}"])
        errors = capsys.readouterr().err
        assert end.value.code == 2, (value, errors)
        assert errors.startswith("Error: "), (value, errors)
        assert errors.count("\n") == 1, (value, errors)
        assert flag in errors, (value, errors)
        assert list(tmp_path.iterdir()) == [file], value


@pytest.mark.parametrize("value", [*VALUES, "", "-5%", "inf%", "1e999"])
@pytest.mark.parametrize(
    "flag", ["--tokens", "--batch-size", "--ppl-increase", "--activation-ratio", "--stabilise", "--drop"]
)
def test_numbers_that_come_as_words(flag, value, tmp_path, capsys, monkeypatch):
    """Those that may also be a share, auto, or part of a word."""
    monkeypatch.chdir(tmp_path)
    if flag == "--drop" and value.isdecimal():
        return  # no series has as many points, which is said of the series
    file, model = tmp_path / "file.txt", tmp_path / "model"
    file.write_text("some text\n", encoding="utf-8")
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    word = f"last:{value}" if flag == "--stabilise" else value
    start = ["fit", str(file)] if flag == "--drop" else ["measure", str(model), "--text", str(file)]
    with pytest.raises(SystemExit) as end:
        main([*start, f"{flag}={word}", "--output", "out"])
    errors = capsys.readouterr().err
    assert end.value.code == 2, errors
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "model"]


def test_specifications_from_python_have_the_same_ranges(tmp_path):
    from sparsity_lab.fitting.spec import FitSpec
    from sparsity_lab.measure.checks import check_spec
    from sparsity_lab.measure.spec import MeasureSpec

    for settings in ({"seed": -1}, {"seed": 2**32}, {"draws": -1}, {"reach": (float("inf"),)}):
        with pytest.raises(SparsityLabError):
            FitSpec(**settings)
    for settings in (
        {"seed": 2**32}, {"window": 0}, {"tokens": 10**30}, {"batch_size": 0}, {"tokens_per_step": 0},
        {"knob": float("nan")}, {"error_share": float("nan")}, {"ppl_increase": float("nan")},
        {"activation_ratio": float("inf")},
    ):  # fmt: skip
        with pytest.raises(SparsityLabError):
            check_spec(MeasureSpec(text=tmp_path / "text.txt", **settings))
