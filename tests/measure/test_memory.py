"""Memory does not grow with the text: windows stream by, sums and counts stay."""

import os
import subprocess
import sys

import pytest

PEAK = """
import resource, sys
from pathlib import Path
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, expand
model, text, tokens, output = sys.argv[1:]
spec = MeasureSpec(text=Path(text), tokens=int(tokens), window=64, batch_size=8)
(row,) = measure_checkpoints(spec, expand([model]), output=Path(output))
print(row["tokens"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of(model, text, output, *, tokens):
    """Tokens measured and the largest resident memory of a process of its own, in the system's unit."""
    words = [sys.executable, "-c", PEAK, str(model), str(text), str(tokens), str(output)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    counted, peak = map(int, done.stdout.split())
    return counted, peak


@pytest.mark.slow
def test_eight_times_the_tokens_take_hardly_more_memory(trained, source_text, tmp_path):
    few, small = peak_of(trained, source_text, tmp_path / "few", tokens=2048)
    many, large = peak_of(trained, source_text, tmp_path / "many", tokens=16_384)
    assert many == 8 * few
    assert large < 1.1 * small
