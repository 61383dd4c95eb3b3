"""A process to fork from, and small commands to disturb."""

import csv
import shutil
from functools import cache

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
def corpus(sources, tmp_path_factory):
    """Text that is enough for a validation set."""
    path = tmp_path_factory.mktemp("corpus") / "sources.txt"
    path.write_text(sources, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    """A series that follows a power law, but for noise."""
    path = tmp_path_factory.mktemp("points") / "points.csv"
    draw = np.random.default_rng(0)
    tokens = np.geomspace(1e9, 1e11, 12)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("series", "tokens", "activation_ratio"))
        ratios = 0.2 - 0.1 * (tokens / 1e9) ** -0.5 + draw.normal(scale=1e-3, size=len(tokens))
        writer.writerows(("a", one, ratio) for one, ratio in zip(tokens, ratios, strict=True))
    return path


@pytest.fixture(scope="session")
def disturbed(checkpoints, source_text, corpus, points, tmp_path_factory):
    """A command by its name; `report` is of what `measure` wrote."""
    reported = tmp_path_factory.mktemp("reported")
    return {
        "measure": commands.measure(checkpoints, source_text),
        "train": commands.train([corpus], tmp_path_factory.mktemp("config")),
        "fit": commands.fit(points),
        "report": commands.report(reported),
    }


@pytest.fixture(scope="session")
def reference(zygote, disturbed, tmp_path_factory):
    """What a command leaves where nothing disturbs it, and how it went; each is run once."""
    root = tmp_path_factory.mktemp("references")

    @cache
    def find(name):
        if name == "report":
            find("measure")
            shutil.copytree(root / "measure", disturbed[name].words[-1], dirs_exist_ok=True)
        return undisturbed(zygote, disturbed[name].words, root / name)

    return find


@pytest.fixture
def soak_of(zygote, disturbed, reference, tmp_path):
    """A command, by its name, under fire."""
    return lambda name: Soak(zygote, disturbed[name], tmp_path / name, reference(name)[0])
