"""Released algorithms of others, reproduced so that parity can be shown: slow, documented, never the default.

One file each; the file's name is what `--compat` takes.
"""

from __future__ import annotations

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.registry import unknown

NAMES = ("sparsinglaw",)


def check_compat(
    name: str, *, criterion: str, searches_ratio: bool, stabilise: bool, batch_size: int | None
) -> None:
    """Refuse settings that a reproduced algorithm does not have.

    Raises:
        SparsityLabError: an unknown name, a criterion other than cett, a search for an activation ratio, the series
            rule, or a batch size.
    """
    if name not in NAMES:
        raise unknown(name, kind="reproduced algorithm", known=list(NAMES))
    if criterion != "cett":
        raise SparsityLabError(
            f"--compat {name} reproduces CETT alone, not {criterion}",
            fix="Leave --compat out, or use --criterion cett",
        )
    if searches_ratio:
        raise SparsityLabError(
            f"--compat {name} searches for a rise of perplexity alone",
            fix="Leave --activation-ratio or --compat out",
        )
    if stabilise:
        raise SparsityLabError(
            f"--compat {name} measures one checkpoint at a time", fix="Leave --stabilise or --compat out"
        )
    if batch_size is not None:
        raise SparsityLabError(
            f"--compat {name} takes one window at a time", fix="Leave --batch-size or --compat out"
        )
