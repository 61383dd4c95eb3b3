"""Examples of every command, shown at the end of its `--help`."""

from __future__ import annotations

import typer

RECORD = "--thresholds runs/measure"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("demo", "demo --output runs/demo-1 --seed 1"),
    "train": ("train demo --dry-run", "train my-ladder.yaml --output runs/ladder --jobs 2"),
    "measure": (
        "measure HuggingFaceTB/SmolLM2-135M",
        "measure ./checkpoint --text mine.txt --ppl-increase 1%",
        "measure runs/ladder/runs/* --text mine.txt --stabilise last:5 --per-checkpoint",
    ),
    "neurons": (f"neurons ./checkpoint {RECORD} --text mine.txt",),
    "structure": (f"structure ./checkpoint {RECORD} --text code=code.txt --text prose=prose.txt",),
    "predict": (f"predict ./checkpoint {RECORD} --text mine.txt",),
    "affinity": ("affinity runs/neurons", "affinity runs/neurons --measure"),
    "fit": (
        "fit runs/measure/table.csv",
        "fit mine.csv --x tokens --y loss --law power",
        "fit --data sparsing-law --drop published",
        'fit runs/measure/table.csv --lock "as in table 2"',
    ),
    "study": ("study laptop --dry-run", "study my-study.yaml --output runs/study --jobs 2"),
    "check": ("check", "check runs/fit/locks/relu.toml"),
    "eval": (f"eval ./checkpoint --tasks arc_easy,hellaswag {RECORD}", "eval ./checkpoint --text mine.txt"),
    "heat": (f"heat ./checkpoint {RECORD} --text mine.txt",),
    "report": ("report runs/measure", "report runs/measure --format tex"),
    "ls": ("ls laws", "ls data"),
    "bench": ("bench kernels --device cpu",),
    "bench.kernels": ("bench kernels --device cpu",),
    "bench.measure": ("bench measure ./checkpoint --text mine.txt",),
    "bench.train": ("bench train demo",),
    "density": (
        "density",
        "density --targets results/",
        "density --targets my-models.csv --ruler olmo-ladder",
    ),
    "density.ruler": ("density ruler my-models.csv --name mine",),
    "density.predict": ("density predict", "density predict --ladder my-ladder.csv"),
    "density.rulers": (
        "density rulers",
        "density rulers --output runs/rulers",
    ),
    "density.pairs": ("density pairs", "density pairs --pairs my-pairs.csv"),
    "density.needed": ("density needed --score 0.6",),
    "density.cost": ("density cost prices.csv --score 0.6",),
    "density.planted": ("density planted --worlds 20",),
}


def show(app: typer.Typer, path: tuple[str, ...] = ()) -> None:
    """Give every command of an app, and of the groups in it, its examples, under its options."""
    for info in app.registered_commands:
        if info.callback is not None:
            info.epilog = _text(".".join((*path, info.name or info.callback.__name__)))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.epilog = _text(".".join((*path, group.name or "")))
            show(group.typer_instance, (*path, group.name or ""))


def _text(command: str) -> str:
    """The examples a line each; paragraphs are what keeps lines apart."""
    return "\n\n".join(["Examples:", *(f"sparsity-lab {example}" for example in EXAMPLES.get(command, ()))])
