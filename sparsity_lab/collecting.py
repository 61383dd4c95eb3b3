"""Python's search for cyclic garbage, kept away from modules.

While torch and transformers are imported it goes through their 400,000 objects again and again: a fifth of the time
of the import, and of a full search later. None of it is ever garbage.
"""

from __future__ import annotations

import gc

IMPORTED_OBJECTS = (
    300_000  # most of what the imports of `measure` make; a command that imports less collects later
)


def spare_imports() -> None:
    """No search until so many objects have been made; these are then set aside, and all goes on as usual.

    What of them is garbage by then stays to the end; modules come first, so it is little.
    """
    usual = gc.get_threshold()

    def set_aside(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            gc.callbacks.remove(set_aside)
            gc.freeze()
            gc.set_threshold(*usual)

    gc.callbacks.append(set_aside)
    gc.set_threshold(IMPORTED_OBJECTS, *usual[1:])
