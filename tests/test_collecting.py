"""The search for garbage waits for the imports, then goes on as usual."""

import subprocess
import sys

SCRIPT = """
import gc, weakref
from sparsity_lab.collecting import IMPORTED_OBJECTS, spare_imports

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


def test_it_waits_once_and_is_then_as_it_was():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
