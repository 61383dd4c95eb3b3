"""A process to fork from, and small commands to disturb."""

import csv

import numpy as np
import pytest

from tests.faults import commands
from tests.faults.soak import Soak, undisturbed
from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="session")
def words(checkpoints, source_text):
    """`measure` of four checkpoints, by both rules."""
    return commands.measure(checkpoints, source_text).words


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    """Two series that follow a power law, but for noise."""
    path = tmp_path_factory.mktemp("points") / "points.csv"
    draw = np.random.default_rng(0)
    tokens = np.geomspace(1e9, 1e11, 12)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("series", "tokens", "activation_ratio"))
        for name, limit in (("a", 0.2), ("b", 0.3)):
            ratios = limit - 0.1 * (tokens / 1e9) ** -0.5 + draw.normal(scale=1e-3, size=len(tokens))
            writer.writerows((name, one, ratio) for one, ratio in zip(tokens, ratios, strict=True))
    return path


@pytest.fixture(scope="session")
def disturbed(zygote, checkpoints, source_text, points, tmp_path_factory):
    """Name -> a command; `report` is of what the others wrote."""
    found = {
        "measure": commands.measure(checkpoints, source_text),
        "train": commands.train([source_text], tmp_path_factory.mktemp("config")),
        "fit": commands.fit(points),
    }
    whole = tmp_path_factory.mktemp("reported")
    for name in ("measure", "fit"):
        undisturbed(zygote, found[name].words, whole / name)
    return {**found, "report": commands.report(whole)}


@pytest.fixture(scope="session")
def references(zygote, disturbed, tmp_path_factory):
    """Name of a command -> what it leaves where nothing disturbs it, and how it went."""
    root = tmp_path_factory.mktemp("references")
    return {name: undisturbed(zygote, one.words, root / name) for name, one in disturbed.items()}


@pytest.fixture
def soak_of(zygote, disturbed, references, tmp_path):
    """A command, by its name, under fire."""
    return lambda name: Soak(zygote, disturbed[name], tmp_path / name, references[name][0])
