"""SIGKILL at any moment of `measure`, `train`, `fit` or `report`: the same files in the end, nothing lost or halved."""

import random

import pytest

from sparsity_lab.store.tables import write_table

# Command -> kills at random moments, kills before an operation on a file.
MANY = {"measure": (30, 30), "train": (25, 25), "fit": (20, 15), "report": (30, 25)}
LEAST_FILES = {"measure": 12, "train": 60, "fit": 9, "report": 1}
LONG = pytest.mark.slow


@pytest.mark.parametrize("name", ["measure", "train", pytest.param("fit", marks=LONG), "report"])
@pytest.mark.long
def test_an_undisturbed_run_is_what_it_is_compared_with(reference, name):
    contents, ended = reference(name)
    assert len(contents) >= LEAST_FILES[name]
    assert not [one for one in contents if "claim" in one or one.rpartition("/")[2].startswith(".")]
    assert ended.operations > 3 * LEAST_FILES[name], "claims, records, tables and plots are counted"


@pytest.mark.parametrize(
    ("name", "kills"), [("measure", 1), ("train", 1), pytest.param("fit", 3, marks=LONG), ("report", 1)]
)
@pytest.mark.long
def test_kills_at_random_moments(soak_of, reference, name, kills):
    soak = soak_of(name)
    soak.kill_at_random_moments(kills, seconds=reference(name)[1].seconds, seed=1)
    assert soak.kills == kills


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_kills_before_operations_on_files(soak_of, reference, name):
    """In the midst of the first files' writing, and among the last, when tables are written."""
    soak, last = soak_of(name), reference(name)[1].operations
    soak.kill_before_operations(sorted({2, min(9, last), min(11, last), last - 2}))
    assert soak.kills >= 3


@pytest.mark.soak
@pytest.mark.parametrize("name", MANY)
def test_two_hundred_kills(soak_of, reference, tmp_path, name):
    """Their tables are kept in results/faults."""
    (moments, operations), ended = MANY[name], reference(name)[1]
    soak, draw = soak_of(name), random.Random(name)
    soak.kill_before_operations([draw.randint(1, ended.operations) for _ in range(operations)])
    soak.kill_at_random_moments(moments, seconds=ended.seconds, seed=draw.randint(0, 2**31))
    assert soak.kills == moments + operations
    write_table(tmp_path.parent / f"kills-{name}", soak.log, {column: column for column in soak.log[0]})


def test_they_are_two_hundred():
    assert sum(map(sum, MANY.values())) == 200
