"""The search for garbage waits for the imports, then goes on as usual."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, weakref
from sparsity_lab.machine.collecting import IMPORTED_OBJECTS, spare_imports

class Knot:
    def __init__(self):
        self.own = self

def lost():
    knot = Knot()
    return weakref.ref(knot)

usual, searches = gc.get_threshold(), gc.get_stats()[0]["collections"]
spare_imports()
modules = [[] for _ in range(IMPORTED_OBJECTS // 2)]
assert gc.get_stats()[0]["collections"] == searches, "none until then"
modules += [[] for _ in range(IMPORTED_OBJECTS)]
assert gc.get_stats()[0]["collections"] > searches
assert gc.get_threshold() == usual
assert not gc.callbacks
assert gc.get_freeze_count() >= IMPORTED_OBJECTS
later = lost()
more = [[] for _ in range(10_000)]
assert later() is None, "found without being asked"
"""


ASKED = """
import gc
from sparsity_lab.machine.collecting import spare_imports

usual = gc.get_threshold()
spare_imports()
knot = []
knot.append(knot)
del knot
assert gc.collect() > 0, "what was let go of is found"
assert gc.get_freeze_count() == 0
assert gc.get_threshold() == usual
assert not gc.callbacks
"""


@pytest.mark.parametrize("script", [SCRIPT, ASKED], ids=["by itself", "asked for"])
def test_it_waits_once_and_is_then_as_it_was(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
