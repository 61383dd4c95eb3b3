"""One drawn invocation, run and judged: `trial(seed, ...)`."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.zygote import Ended, Zygote
from tests.hostile.fuzzing.invocation import Invocation, invocation
from tests.hostile.fuzzing.judge import complaints, snapshot

AGAIN = "FUZZ_SEEDS={seed} python -m pytest -s tests/hostile/test_invocations.py -k again"


@dataclass(frozen=True)
class Trial:
    """What was run, how it ended, and what is wrong with that."""

    made: Invocation
    ended: Ended
    wrong: list[str]

    def __str__(self) -> str:
        said = "\n".join([*self.ended.printed.splitlines()[-5:], *self.ended.said.splitlines()[-25:]])
        again = AGAIN.format(seed=self.made.seed)
        return "\n".join(
            [str(self.made), f"ended with {self.ended.code} in {self.ended.seconds:.1f} s", said,
             *(f"WRONG: {one}" for one in self.wrong), f"again: {again}"]
        )  # fmt: skip


def trial(seed: int, *, world: Path, zygote: Zygote, longest_s: float) -> Trial:
    """Draw an invocation on a copy of the world, run it for a time at most, and judge it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        shutil.copytree(world, folder / "here", symlinks=True)
        (folder / "home").mkdir()
        (folder / "tmp").mkdir()
        made = invocation(seed, folder)
        before = snapshot(folder)
        ended = zygote.run_in(made.around, *made.words, kill_after_s=longest_s)
        cut_short = ended.killed and ended.seconds >= longest_s
        return Trial(made, ended, complaints(made, ended, folder, before, cut_short=cut_short))
