"""SIGKILL at any moment of `measure`: the same table in the end, nothing lost, nothing halved, nothing twice."""

import random

import pytest

from sparsity_lab.tables import write_table
from tests.faults.soak import Soak, undisturbed


@pytest.fixture(scope="module")
def reference(zygote, words, tmp_path_factory):
    """What an undisturbed run leaves, and how it went."""
    return undisturbed(zygote, words, tmp_path_factory.mktemp("reference") / "out")


@pytest.fixture
def soak(zygote, words, tmp_path, reference):
    return Soak(zygote, words, tmp_path / "out", reference[0])


def test_an_undisturbed_run_is_what_it_is_compared_with(reference):
    contents, ended = reference
    assert ended.operations > 40, "claims, records, tables and plots are counted"
    assert len([name for name in contents if name.endswith(".json") and name != "config.json"]) >= 8
    assert {"table.csv", "table.md", "config.json"} < set(contents)
    assert not [name for name in contents if "claim" in name]


def test_kills_at_random_moments(soak, reference):
    soak.kill_at_random_moments(5, seconds=reference[1].seconds, seed=1)
    assert soak.kills == 5


@pytest.mark.slow
def test_kills_before_operations_on_files(soak, reference):
    """Two in the midst of the first record's writing, and one among the last, when tables are written."""
    soak.kill_before_operations([9, 11, reference[1].operations - 5])
    assert soak.kills == 3


@pytest.mark.slow
def test_two_hundred_kills(soak, reference, tmp_path):
    """Half an hour; its table is kept in results/faults."""
    draw = random.Random(3)
    soak.kill_before_operations([draw.randint(1, reference[1].operations) for _ in range(60)])
    soak.kill_at_random_moments(140, seconds=reference[1].seconds, seed=4)
    assert soak.kills == 200
    write_table(tmp_path / "kills", soak.log, {name: name for name in soak.log[0]})
