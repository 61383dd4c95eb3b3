"""Released algorithms of others, reproduced so that results can be compared: slow, documented, never the default.

`NAMES` lists what `--compat` takes; each has a file of that name. Numbers come out as the same `Measurement` that the
engine gives.

    sparsinglaw.py    the code released with Sparsing Law; its docstring lists what is particular to it
    layer_search.py   the threshold of one layer as that code finds it
"""

from __future__ import annotations

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.registry import unknown

NAMES = ("sparsinglaw",)


def check_compat(
    name: str, *, criterion: str, ratio: bool, thresholds: bool, stabilise: bool, batch_size: int | None
) -> None:
    """Refuse settings that a reproduced algorithm does not have.

    Args:
        name: of the algorithm.
        criterion: asked for.
        ratio: whether an activation ratio is searched for.
        thresholds: whether thresholds are given.
        stabilise: whether the series rule is asked for.
        batch_size: asked for, or None.

    Raises:
        SparsityLabError: an unknown name, a criterion other than cett, or any of the others.
    """
    if name not in NAMES:
        raise unknown(name, kind="reproduced algorithm", known=list(NAMES))
    refused = {
        f"reproduces CETT alone, not {criterion}": ("--criterion", criterion != "cett"),
        "searches for a rise of perplexity alone": ("--activation-ratio", ratio),
        "finds its own thresholds": ("--thresholds", thresholds),
        "measures one checkpoint at a time": ("--stabilise", stabilise),
        "takes one window at a time": ("--batch-size", batch_size is not None),
    }
    for why, (option, is_refused) in refused.items():
        if is_refused:
            raise SparsityLabError(f"--compat {name} {why}", fix=f"Leave {option} or --compat out")
