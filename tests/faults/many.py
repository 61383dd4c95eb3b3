"""Measures every checkpoint of a folder at three knobs: `python many.py FOLDER TEXT OUTPUT LAUNCHER [ADDRESS]`.

What `sparsity-lab measure` does for one setting, here for three, so that a checkpoint's cells travel together.
"""

from __future__ import annotations

import sys
from pathlib import Path

KNOBS = (0.05, 0.1, 0.2)
SETTINGS = {"tokens": 512, "window": 64, "batch_size": 8, "device": "cpu"}


def main(folder: str, text: str, output: str, launcher: str, address: str | None = None) -> None:
    """Measure, and write one table of all cells."""
    from sparsity_lab import records, registry
    from sparsity_lab.measure.cells import Bench
    from sparsity_lab.measure.gather import gather
    from sparsity_lab.measure.launchers import Options
    from sparsity_lab.measure.run import write_table
    from sparsity_lab.measure.settings import Setting
    from sparsity_lab.measure.spec import MeasureSpec, expand

    place = records.prepare_output(Path(output) / "records")
    with registry.load("launchers", launcher).crew(Options(address=address)) as crew:
        bench = Bench(MeasureSpec(text=Path(text), **SETTINGS), folder=place, elsewhere=crew.device)
        prepared = bench.prepare_all(expand([folder]))
        cells = [(one, Setting("fixed", knob=knob)) for one in prepared for knob in KNOBS]
        rows = gather(bench, cells, crew=crew, label="three knobs")
    write_table(Path(output), rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
