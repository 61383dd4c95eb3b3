"""A device's roofline with the timed kernels on it.

The roof is min(matmul rate, intensity x copy bandwidth), both measured on the device itself (Williams,
Waterman and Patterson, Communications of the ACM 52, 2009). A kernel is plotted at the operations and least
bytes of its definition, so its distance to the roof is what a perfect implementation could still gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sparsity_lab.fitting.plots.canvas import style

_SHORT = {"bfloat16": "bf16", "float32": "fp32"}


def roofline(benchmark: Mapping[str, Any], stem: Path) -> list[Path]:
    """Draw the JSON of the kernels' benchmark; writes `stem.png` and `stem.svg`."""
    with style.styled([benchmark["device"]]):
        drawn, (axes,) = style.figure(height=3.4)
        _roof(axes, benchmark)
        _points(axes, benchmark["cases"])
        axes.set(xscale="log", yscale="log", xlabel="operations per byte moved at least")
        axes.set_ylabel("operations per second ($10^{12}$)")
        axes.set_title(style.label(benchmark["device"]), loc="left")
        drawn.legend(loc="outside lower center", ncols=2, handlelength=1.4, columnspacing=1.0)
        return style.save(drawn, stem)


def _roof(axes: Axes, benchmark: Mapping[str, Any]) -> None:
    bandwidth, rate = benchmark["copy_bytes_per_second"], benchmark["matmul_operations_per_second"]
    at = [row["operations_per_byte"] for row in benchmark["cases"]]
    x = np.geomspace(min(at) / 3, max(*at, rate / bandwidth) * 3, 200)
    label = f"copy bandwidth, {_SHORT[benchmark['cases'][0]['dtype']]} matmul rate"
    axes.plot(x, np.minimum(rate, x * bandwidth) / 1e12, color="#000000", label=label)


def _points(axes: Axes, cases: Sequence[Mapping[str, Any]]) -> None:
    kernels = list(dict.fromkeys(case["kernel"] for case in cases))
    for kernel, colour, marker in zip(kernels, style.COLOURS, style.MARKERS, strict=False):
        of_kernel = [case for case in cases if case["kernel"] == kernel]
        x = [case["operations_per_byte"] for case in of_kernel]
        for key, filled in (("milliseconds", True), ("eager_milliseconds", False)):
            y = [case["operations"] / case[key] * 1e3 / 1e12 for case in of_kernel]
            face = colour if filled else "none"
            axes.plot(x, y, marker, color=colour, markerfacecolor=face, label=kernel if filled else None)
    axes.plot([], [], "o", color="#666666", markerfacecolor="none", label="the same in eager PyTorch")
