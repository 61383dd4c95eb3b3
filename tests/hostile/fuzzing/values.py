"""Values of a command's parameters: right ones, the ends of ranges, files of another kind, and nonsense."""

from __future__ import annotations

import math
from random import Random

from sparsity_lab import ranges, registry
from sparsity_lab.ladder.study.plan import STAGES
from sparsity_lab.store import bundled
from tests.hostile.fuzzing.app import Command, Parameter
from tests.hostile.made_up import ODD_NUMBERS, ODD_WORDS

# Right values by the name of a parameter, or by its command's and its own; files are those of `world`.
RIGHT: dict[str, tuple[str, ...]] = {
    "models": ("model", "checkpoints", "checkpoints/step-*", "checkpoints/step-1"),
    "affinity.models": ("model",), "density.models": ("about.csv",), "density.ruler.models": ("about.csv",),
    "model": ("model",), "bench.measure.model": ("random:tiny", "model"),
    "text": ("text.txt", "other.txt"), "texts": ("text.txt", "a=text.txt", "other=other.txt"),
    "transfer": ("other=other.txt", "other.txt"),
    "thresholds": ("record.json", "record.json", "measured"), "trained_tokens": ("tokens.csv",),
    "measure.thresholds": ("record.json",), "heat.thresholds": ("record.json",), "eval.thresholds": ("record.json",),
    "architecture_file": ("architecture.py",), "found": ("neurons", "neurons/neuron_records"),
    "predictors": ("predictors",), "table": ("points.csv", "points.csv", "runs.csv", "measured/table.csv"),
    "d0": ("1e11", "5e12"),
    "data": tuple(bundled.names()),
    "folder": ("measured", "neurons", "predictors", "affinity", "structure", "heat", "fits", "density", "."),
    "paths": ("fits", "fits/locks/a.toml", "runs-fit"), "since": ("points.csv",), "reason": ("A reason",),
    "include_path": ("tasks",), "eval.tasks": ("mine",), "tasks": ("MMLU", "MMLU,BBH", "ARC-C", "mmlu"),
    "targets": ("models.csv", "results", "obsscaling-models"),
    "inputs": ("ladder.csv", "results", "models.csv", "obsscaling-models"),
    "ruler": ("auto", "ruler.json", "Qwen1.5", "obs-pythia", "olmo-ladder"), "family": ("Qwen1.5", "Pythia"),
    "ladder": ("ladder.csv",), "target": ("13B-5T", "1B-10xC"), "file": ("pairs.csv",), "prices": ("prices.csv",),
    "config": ("{command}.yaml",), "train.config": ("ladder.yaml",), "study.config": ("study.yaml",),
    "bench.train.config": ("ladder.yaml",), "run": ("relu", "silu"), "corpus": ("python",),
    "criterion": (*registry.names("criteria"), "all"), "compat": ("sparsinglaw",), "against": ("sparsinglaw",),
    "measure.tokens": ("512", "256", "auto:90%"), "ppl_increase": ("5%", "0.1", "1%"),
    "activation_ratio": ("30%", "0.5"), "stabilise": ("last:1", "last:2", "last:5"),
    "revisions": ("main", "step1,step2"), "revision": ("main",), "device": ("cpu", "auto"),
    "dtype": ("float32", "auto"),
    "batch_size": ("1", "auto", "3"), "launcher": ("inline",), "log": ("tensorboard",), "only": STAGES,
    "slurm": ("cluster=local",), "shapes": ("40x16", "8x8"),
    "law": (*registry.names("laws"), "auto", "A0 - c*x^-alpha; alpha=0.1:2", "A0 - c*D^-alpha",
            "E + a*N^-al + b*D^-be"),
    "fit.inputs": ("D=tokens", "N=params,D=tokens"), "fix": ("A0=0.1", "E=1.7"), "tie": ("be=al",),
    "bound": ("c=0:", "c=:5", "alpha=0.1:3"), "asymptote": ("A0", "E"), "rivals": ("constant", "power,sigmoid"),
    "ranges": ("alpha=0.1:2",), "drop": ("0", "1", "auto", "a=2", "published"),
    "x": ("tokens", "params,tokens", "params"), "y": ("activation_ratio", "loss"), "group": ("series", "run"),
    "by": ("run", "size"), "holdout": ("tokens", "params"), "se": ("se",), "exclude": ("excluded",),
    "unit": ("tokens=1e9", "activation_ratio=percent"),
    "lock": ("A reason",), "metric": ("acc", "mmlu=acc"), "chance": ("mine=0.25",), "name": ("mine",),
    "break_at": ("2023-12-01",), "project": ("2026-01-01",), "dates": ("2024-01-01,2024-07-01",),
    "kinds": ("standard",), "harness": ("none",), "source": ("a source",),
}  # fmt: skip
# What makes a command quick where its usual value does not; given unless drawn.
BRIEF = {
    "measure.tokens": "512", "neurons.tokens": "256", "structure.tokens": "512", "predict.tokens": "512",
    "heat.tokens": "40", "window": "64", "written_tokens": "0", "bootstrap": "5", "epochs": "1", "draws": "19",
    "permutations": "19", "clusters": "4", "routed": "1", "fit.jobs": "1", "worlds": "20", "pairs": "1",
    "affinity.pairs": "", "density.pairs.pairs": "", "bench.train.pairs": "2", "bench.measure.tokens": "256",
    "sensitivity": "--no-sensitivity", "compiled": "--no-compile",
    "include_path": "tasks", "bench.kernels.device": "cpu", "limit": "2",
}  # fmt: skip
NEVER = {"debug"}  # shows tracebacks: that is its purpose


def named(table: dict, command: Command, parameter: Parameter) -> object:
    """What a table has for a parameter of a command, the command's own first; None for nothing."""
    return table.get(f"{command.name}.{parameter.name}", table.get(parameter.name))


def right(draw: Random, command: Command, parameter: Parameter) -> str:
    """A value that the parameter is meant to take, as far as it is known."""
    known = named(RIGHT, command, parameter)
    if known:
        return draw.choice(known).format(command=command.name)
    if parameter.choices:
        return draw.choice(parameter.choices)
    wanted = ranges.range_of(parameter.name, command=command.name)
    if parameter.kind is int:
        low = 0 if wanted is None else math.ceil(wanted.low)
        return str(low + draw.randrange(4))
    if parameter.kind is float:
        return draw.choice(("0.1", "0.25", "0.5", "1"))
    return draw.choice(("a", "mine"))


def odd(draw: Random, command: Command, parameter: Parameter, files: list[str]) -> str:
    """A value that it is perhaps not meant to take: an end of its range, a file of another kind, or nonsense."""
    wanted = ranges.range_of(parameter.name, command=command.name)
    if parameter.kind in (int, float) and wanted is not None and draw.random() < 0.5:
        ends = [wanted.low, wanted.high] if math.isfinite(wanted.low) else [1e308, -1e308]
        end = draw.choice(ends)
        step = draw.choice((0, 0, -1, 1)) if parameter.kind is int else draw.choice((0, 0, -1e-9, 1e-9))
        return str(int(end + step) if parameter.kind is int else end + step)
    if parameter.kind in (int, float):
        return draw.choice(ODD_NUMBERS)
    if draw.random() < 0.5:
        return draw.choice(files)
    return draw.choice([*ODD_WORDS, *ODD_NUMBERS])
