"""Python's search for cyclic garbage, kept away from modules.

While torch and transformers are imported it goes through their 400,000 objects again and again: a fifth of the time
of the import, and of a full search later. None of it is ever garbage.
"""

from __future__ import annotations

import gc

IMPORTED_OBJECTS = 300_000  # most of what `measure` imports; a command that imports less is searched later
ALL_OBJECTS = 2  # the generation of a full search


def spare_imports() -> None:
    """No search until so many objects have been made; these are then set aside, and all goes on as usual.

    What of them is garbage by then stays to the end; modules come first, so it is little. Where somebody asks for a
    full search before, nothing is set aside: what they let go of is to be found.
    """
    usual = gc.get_threshold()

    def set_aside(phase: str, search: dict[str, int]) -> None:
        if phase == "start":
            gc.callbacks.remove(set_aside)
            gc.set_threshold(*usual)
            if search["generation"] < ALL_OBJECTS:
                gc.freeze()

    gc.callbacks.append(set_aside)
    gc.set_threshold(IMPORTED_OBJECTS, *usual[1:])
