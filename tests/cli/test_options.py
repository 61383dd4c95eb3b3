"""Options are declared once: their defaults are those of the specifications, and `--help` says what each means."""

import inspect
import os
import subprocess
import sys
import typing
from dataclasses import MISSING, fields

import pytest

from sparsity_lab.cli import affinity, evaluate, heat, neurons, predict, structure
from sparsity_lab.cli.fit import FitOptions
from sparsity_lab.cli.main import app
from sparsity_lab.cli.measure_options import MeasureOptions
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.measure.callback import MeasureCallback
from sparsity_lab.measure.lm_eval.evaluation import EvalSpec
from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.structure.spec import StructureSettings
from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.measure.token_heat import HeatSpec
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.settings import PANELS
from tests.cli.test_ranges import commands

PAIRS = [
    (MeasureOptions, MeasureSpec), (MeasureOptions, Options), (neurons.NeuronsOptions, NeuronSpec),
    (structure.StructureOptions, NeuronSpec), (structure.StructureOptions, StructureSettings),
    (predict.PredictOptions, NeuronSpec), (predict.PredictOptions, PredictorSettings),
    (affinity.AffinityOptions, Costs), (affinity.AffinityOptions, TimingPlan), (heat.HeatOptions, HeatSpec),
    (evaluate.EvalOptions, EvalSpec), (FitOptions, FitSpec),
]  # fmt: skip
WORDS = {
    "knob", "ppl_increase", "activation_ratio", "criterion", "tokens",  # of measure
    "shapes", "rivals", "drop", "seed", "law", "weighted", "reach", "delta", "noise", "spare",
}  # fmt: skip


def declaring(kind, name):
    """The class that declares a field."""
    return next(base for base in kind.__mro__ if name in inspect.get_annotations(base))


@pytest.mark.parametrize(("options", "spec"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_default_of_the_command_line_is_that_of_the_specification(options, spec):
    """By construction, as both inherit it; but what the command line takes as words it has by its own name."""
    ours = {field.name: field for field in fields(options)}
    both = [field for field in fields(spec) if field.name in ours and field.default is not MISSING]
    assert both
    for field in both:
        if field.default in (None, False, ()) and not ours[field.name].default:
            continue
        shared = declaring(options, field.name) is declaring(spec, field.name)
        assert shared or field.name in WORDS, field.name
        assert shared or str(ours[field.name].default or field.default) == str(field.default), field.name


def test_the_callback_measures_with_the_defaults_of_the_command_line():
    parameters = inspect.signature(MeasureCallback.__init__).parameters
    for name in ("criterion", "tokens", "window", "bos", "batch_size", "seed"):
        default = next(field.default for field in fields(MeasureSpec) if field.name == name)
        assert parameters[name].default == default, name


def options_of_all():
    for path, command in commands(app):
        for name, hint in typing.get_type_hints(command, include_extras=True).items():
            if hasattr(hint, "__metadata__"):
                yield pytest.param(hint.__metadata__[0], id=f"{'.'.join(path)}-{name}")


@pytest.mark.parametrize("option", list(options_of_all()))
def test_help_is_a_phrase_in_a_panel(option):
    assert option.help.endswith(".")
    if type(option).__name__ == "OptionInfo":
        assert option.rich_help_panel in PANELS


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("rich", ["1", "0"], ids=["rich", "plain"])
@pytest.mark.long
def test_help_is_whole_with_and_without_rich(rich, columns):
    environment = {**os.environ, "TYPER_USE_RICH": rich, "COLUMNS": columns, "TERMINAL_WIDTH": columns}
    shown = subprocess.run(
        [sys.executable, "-m", "sparsity_lab", "measure", "--help"],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    flags = [f"--{name.replace('_', '-')}" for name in inspect.get_annotations(MeasureOptions)]
    assert not [flag for flag in [*flags, "--jobs", "--device", "--window"] if flag not in shown]
    assert "At most N checkpoints." in shown
    assert ("─ Where ─" in shown) == (rich == "1")
    assert max(map(len, shown.splitlines())) <= int(columns)
