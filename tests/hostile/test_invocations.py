"""Whole invocations drawn from seeds: no traceback, one paragraph, nothing half-written, nothing out of place.

    FUZZ_SEEDS=17 python -m pytest -s tests/hostile/test_invocations.py -k again     # one draw, or 17-99

runs draws again and prints them.
"""

import os
import sys
import time

import pytest

from tests.faults.zygote import Zygote
from tests.hostile.fuzzing.app import commands
from tests.hostile.fuzzing.trial import trial
from tests.hostile.fuzzing.world import build

DRAWS = (*range(20), 37)
LONGEST_S = 10
MINUTES = 5


@pytest.fixture(scope="module")
def zygote():
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="module")
def made_world(zygote, checkpoints, source_text, measured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzing") / "world"
    folder.mkdir()
    build(folder, zygote=zygote, checkpoints=checkpoints, text=source_text, record=measured)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", DRAWS)
def test_draws(seed, made_world, zygote):
    found = trial(seed, world=made_world, zygote=zygote, longest_s=LONGEST_S)
    assert not found.wrong, f"\n{found}"


@pytest.mark.soak
def test_minutes_of_draws(made_world, zygote):
    """More draws, until the time is over."""
    until, seed, wrong = time.monotonic() + 60 * MINUTES, 1000, []
    while time.monotonic() < until:
        found = trial(seed, world=made_world, zygote=zygote, longest_s=3 * LONGEST_S)
        wrong += [found] if found.wrong else []
        seed += 1
    assert not wrong, "\n\n".join(["", *map(str, wrong)])


@pytest.mark.skipif("FUZZ_SEEDS" not in os.environ, reason="no seed is given")
def test_again(made_world, zygote):
    first, _, last = os.environ["FUZZ_SEEDS"].partition("-")
    wrong = 0
    for seed in range(int(first), int(last or first) + 1):
        found = trial(seed, world=made_world, zygote=zygote, longest_s=3 * LONGEST_S)
        wrong += bool(found.wrong)
        if found.wrong or not last:
            sys.stdout.write(f"\n{found}\n")
    assert not wrong


def test_every_command_is_drawn():
    names = {command.name for command in commands()}
    assert {"measure", "fit", "check", "density", "density.cost", "bench.kernels", ""} <= names
