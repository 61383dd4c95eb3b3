"""Surroundings of a command that are lawful but unusual, or plainly wrong: variables, limits, streams, rights."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from tests.faults.zygote import Surroundings

ABSENT = "/proc/none/at/all"
# Variables that a run heeds whenever it begins.
VARIABLES: list[dict[str, str | None]] = [
    {"HOME": ABSENT}, {"HOME": None}, {"HOME": ""}, {"HOME": "relative"}, {"TERM": "dumb"}, {"TERM": None},
    {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"COLUMNS": "-5", "LINES": "0"}, {"TMPDIR": ABSENT}, {"TMPDIR": ""},
    {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {"TZ": "Nowhere/Never"}, {"TZ": ":"}, {"TZ": "EST5EDT,M3.2.0,M11.1.0"},
    {"CI": "true", "GITHUB_ACTIONS": "true"}, {"XDG_CACHE_HOME": ABSENT}, {"XDG_CACHE_HOME": "relative"},
    {"RANK": "x", "WORLD_SIZE": "two"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": "-1"}, {"LOCAL_RANK": "x"},
    {"SLURM_JOB_ID": "x", "SLURM_CPUS_PER_TASK": "many", "SLURM_NTASKS": ""}, {"USER": None, "LOGNAME": None},
    {"SOURCE_DATE_EPOCH": "x"}, {"PATH": ""}, {"PATH": None}, {"TQDM_DISABLE": "perhaps"}, {"HOSTNAME": ""},
    {"GIT_DIR": ABSENT}, {"GIT_DIR": "x", "GIT_WORK_TREE": "y"}, {"TRITON_INTERPRET": "perhaps"},
]  # fmt: skip
# Variables that the interpreter or a library reads as it begins.
EARLY: list[dict[str, str | None]] = [
    {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "xx_YY.UTF-8"},
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1:strict"}, {"PYTHONWARNINGS": "error"},
    {"PYTHONOPTIMIZE": "2"}, {"PYTHONDEVMODE": "1"}, {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, {"MPLBACKEND": "TkAgg"}, {"MPLCONFIGDIR": ABSENT},
    {"OMP_NUM_THREADS": "many"}, {"OMP_NUM_THREADS": "0"}, {"OMP_NUM_THREADS": ""}, {"OMP_NUM_THREADS": "2,1"},
    {"CUDA_VISIBLE_DEVICES": "nonsense"}, {"CUDA_VISIBLE_DEVICES": "-1"}, {"HF_HOME": ABSENT}, {"HF_HOME": ""},
    {"HF_HUB_OFFLINE": "perhaps"}, {"TRANSFORMERS_VERBOSITY": "loud"}, {"TOKENIZERS_PARALLELISM": "perhaps"},
    {"PYTHONUNBUFFERED": "1"}, {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}, {"PYTHONWARNDEFAULTENCODING": "1"},
    {"PYTORCH_NVML_BASED_CUDA_CHECK": "x", "TORCH_LOGS": "nonsense"}, {"MKL_NUM_THREADS": "x"},
    {"PYTHONMALLOC": "debug"}, {"PYTHONTRACEMALLOC": "5"}, {"PYTHONFAULTHANDLER": "1"}, {"MALLOC_ARENA_MAX": "1"},
]  # fmt: skip
REST: list[dict[str, Any]] = [
    {"umask": 0o077}, {"umask": 0o777, "plain": True}, {"umask": 0}, {"plain": True}, {"plain": True},
    {"limits": {"RLIMIT_FSIZE": 0}}, {"limits": {"RLIMIT_FSIZE": 5_000}}, {"limits": {"RLIMIT_FSIZE": 200_000}},
    {"limits": {"RLIMIT_NOFILE": 20}}, {"limits": {"RLIMIT_NOFILE": 64}}, {"limits": {"RLIMIT_CORE": 0}},
    {"stdin": None}, {"stdout": None}, {"stdout": "/dev/full"},
]  # fmt: skip


def usual(folder: Path, **more: Any) -> Surroundings:
    """A home and a folder for temporary files below `folder`, and work in its `here`."""
    variables = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), **more.pop("variables", {})}
    return Surroundings(folder=str(folder / "here"), variables=variables, **more)


def unusual(draw: Random, folder: Path) -> Surroundings:
    """One thing that is not as usual; a new interpreter costs seconds, so what needs one is drawn less often."""
    kind = draw.random()
    if kind < 0.45:
        return usual(folder, variables=draw.choice(VARIABLES))
    if kind < 0.9:
        return usual(folder, **draw.choice(REST))
    return usual(folder, variables=draw.choice(EARLY), anew=True)
