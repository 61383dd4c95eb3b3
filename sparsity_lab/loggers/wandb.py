"""Weights & Biases: one run a series, in one group; the x axis of every plot is `trained_tokens`.

Without a key at hand, or under `--offline`, runs are kept in `OUTPUT/wandb/` and can be uploaded later; nobody is ever
asked for a key. `WANDB_MODE`, `WANDB_PROJECT`, `WANDB_ENTITY` and the other variables of W&B count as always. A
series' id is kept in `OUTPUT/wandb/SERIES.id`: a resumed run is sent again under it, and W&B shows the newer one.
"""

from __future__ import annotations

import netrc
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sparsity_lab.loggers import Job
from sparsity_lab.loggers._host import Say
from sparsity_lab.store.file_names import file_name
from sparsity_lab.store.records import write_text

LIBRARY = "wandb"
STEP = "trained_tokens"
DEFAULT_HOST = "https://api.wandb.ai"


def start(job: Job, *, say: Say) -> Wandb:
    """Runs under the run's output, uploaded where a key is at hand."""
    return Wandb(job, say=say)


class Wandb:
    """One W&B run a series, open side by side."""

    def __init__(self, job: Job, *, say: Say) -> None:
        os.environ.pop("WANDB_SERVICE", None)  # that of the run, whose end would be ours
        self.job, self.folder = job, job.folder / "wandb"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mode: Any = "offline" if job.offline else os.environ.get("WANDB_MODE") or _mode()
        if self.mode == "offline":
            os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would report to its maker all the same
        self.runs: dict[str, Any] = {}
        if self.mode == "offline":
            say(
                f"runs are kept offline in {self.folder}; upload with: wandb sync {self.folder}/offline-run-*"
            )
        else:
            say(f"runs are uploaded to {_host()}; their files are in {self.folder}")

    def begin(self, series: str, config: Mapping[str, Any]) -> None:
        """Start the series' run."""
        import wandb

        self.runs[series] = run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "sparsity-lab",
            group=os.environ.get("WANDB_RUN_GROUP") or self.job.folder.name, job_type=self.job.kind, name=series,
            id=self._id(series), dir=str(self.job.folder), config=dict(config), mode=self.mode, reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_code=True),
        )  # fmt: skip
        run.define_metric(STEP, hidden=True)
        run.define_metric("*", step_metric=STEP)

    def point(self, series: str, values: Mapping[str, float], *, step: int) -> None:
        """One row of the run's history."""
        self.runs[series].log({STEP: step, **values})

    def close(self, *, finished: bool) -> None:
        """Finish all runs; those of a run that broke off are marked failed."""
        for run in self.runs.values():
            run.finish(exit_code=0 if finished else 1)

    def _id(self, series: str) -> str:
        path = self.folder / f"{file_name(series)}.id"
        if not path.exists():
            write_text(path, f"{secrets.token_hex(4)}\n")
        return path.read_text(encoding="utf-8").strip()


def _host() -> str:
    return os.environ.get("WANDB_BASE_URL") or DEFAULT_HOST


def _mode() -> str:
    """`online` where W&B would find a key without asking for one: in the environment, or in the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    try:
        names = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
        files = [path for name in names if (path := Path(name).expanduser()).exists()]
        known = bool(files) and netrc.netrc(files[0]).authenticators(urlsplit(_host()).netloc) is not None
    except (OSError, RuntimeError, netrc.NetrcParseError):
        known = False
    return "online" if known else "offline"
