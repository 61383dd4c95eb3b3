"""`sparsity-lab demo`: the first stages of a study, the published series, density and one page, on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sparsity_lab.cli import stages
from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import Output
from sparsity_lab.settings import Seed

if TYPE_CHECKING:
    from sparsity_lab.ladder.study.plan import Study

STEPS = 5


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The options of `sparsity-lab demo`."""

    output: Output = Path("runs/demo")
    seed: Seed = 0


@of_fields
def command(options: DemoOptions) -> None:
    """Train two small models, measure and fit them, fit the published series, and report.

    It takes minutes on two cores and needs no network. A run that was stopped goes on where it was. It is
    `sparsity-lab study demo`, with the published figures in place of a study's comparisons.
    """
    from sparsity_lab.ladder.study.plan import Study
    from sparsity_lab.ladder.study.study_config import load_study
    from sparsity_lab.machine.cores import available_cores
    from sparsity_lab.machine.sole_writer import sole_writer

    output, seed = options.output, options.seed
    config = load_study("demo").with_seed(seed)
    with sole_writer(output):
        _study(Study(config, "demo", output, jobs=min(len(config.ladder.runs), available_cores())))
        _published(output, seed)
        _density(output, seed)
        page = _page(output)
    typer.echo(f"Written to {output}. Open {page} in a browser.")


def _announce(step: int, what: str) -> None:
    typer.echo(f"[{step}/{STEPS}] {what}", err=True)


def _study(study: Study) -> None:
    _announce(1, "training a ReLU and a SiLU model on the Python sources of this environment")
    stages.train(study)
    _announce(2, "measuring every checkpoint by both rules")
    stages.measure(study)
    _announce(3, "fitting laws and their rivals to these runs")
    stages.fit(study)


def _published(output: Path, seed: int) -> None:
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.fitting.fit_table import fit_table
    from sparsity_lab.fitting.report.files import ALL
    from sparsity_lab.fitting.reproduce import published
    from sparsity_lab.fitting.spec import FitSpec

    _announce(4, "fitting the published series of the Sparsing Law")
    # The intervals shown are those of the likelihood profile: the demo does without a bootstrap and a figure a series.
    spec = FitSpec(
        seed=seed, draws=0, drop=published.drops(),
        drop_rule="the number with which the published row reproduces",
    )  # fmt: skip
    folder = output / "fit-sparsing-law"
    fits = fit_table("sparsing-law", output=folder, spec=spec, plots=False, progress=progress())
    with attempted(folder / "plots" / ALL):
        from sparsity_lab.fitting.plots.fits import overview

        overview(fits, folder / "plots" / ALL)


def _density(output: Path, seed: int) -> None:
    from sparsity_lab.fitting.density.options import DensityOptions
    from sparsity_lab.fitting.density.report import run_density

    _announce(5, "capacity density of open base models")
    options = DensityOptions(sensitivity=False, hindcast=False)
    run_density(output=output / "density", seed=seed, options=options, progress=progress())


def _page(output: Path) -> Path:
    """Write the demo's own summary and the page of everything, and return the page's path."""
    from sparsity_lab.fitting.page import write
    from sparsity_lab.fitting.reproduce.demo_report import write_report

    write_report(output)
    return write.write_report(output).path
