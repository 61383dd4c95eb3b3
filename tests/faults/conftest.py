"""A process to fork from, and a small measurement to disturb."""

import pytest

from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="session")
def words(checkpoints, source_text):
    """`measure` of four checkpoints, by both rules."""
    return (
        "--quiet", "measure", checkpoints, "--text", source_text, "--tokens", 512, "--window", 64,
        "--ppl-increase", "5%", "--stabilise", "last:2", "--per-checkpoint",
    )  # fmt: skip
