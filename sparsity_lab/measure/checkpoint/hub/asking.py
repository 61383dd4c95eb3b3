"""Asks the Hub: which commit a revision is and for its files, in bounded time, with a line every few seconds."""

from __future__ import annotations

import difflib
import inspect
import logging
import time
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.hub.answers import BUSY, HUB_FIX, advice, reason, status_of, wait_of
from sparsity_lab.measure.checkpoint.hub.xet import or_plain_http
from sparsity_lab.measure.checkpoint.weights.weight_files import PICKLED, SAFE, pickles_not_allowed, shards_of

logger = logging.getLogger(__name__)
AGAIN_S = (1.0, 2.0, 4.0)  # waits before a Hub that is busy is asked again
MOST_WAIT_S = (
    330.0  # that a Hub may ask for; its limits hold for 5 minutes: huggingface.co/docs/hub/rate-limits
)
WAITED_FOR = frozenset({408, 429})  # by huggingface_hub itself where it downloads a file
MOST_REVISIONS = 6  # named where one is missing
WEIGHTS = (".safetensors of ", ".bin of ")
LINE_S = 5.0  # between two lines about one download
T = TypeVar("T")


def describe(model: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit that a revision of a Hub id means now, and the names of its files.

    Raises:
        SparsityLabError: it has no such revision.
        Exception: whatever else huggingface_hub raises.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RevisionNotFoundError

    _set_time_limit()
    asked = partial(HfApi().model_info, model, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    try:
        found = _asked(model, asked)
    except RevisionNotFoundError as error:
        raise _no_revision(model, revision, there=revisions(model)) from error
    return str(found.sha), [file.rfilename for file in found.siblings or ()]


def dataset_commit(dataset: str, revision: str | None) -> str:
    """The commit that a revision of a dataset on the Hub means now.

    Raises:
        Exception: whatever huggingface_hub raises.
    """
    from huggingface_hub import HfApi, constants

    _set_time_limit()
    asked = partial(HfApi().dataset_info, dataset, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    return str(_asked(dataset, asked).sha)


def bring(model: str, name: str, revision: str | None) -> Path:
    """A file of a Hub id in this machine's cache, downloaded where it is not there yet.

    Raises:
        Exception: whatever huggingface_hub raises.
    """
    from huggingface_hub import hf_hub_download

    _set_time_limit()
    shown: dict[str, Any] = {}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        shown["tqdm_class"] = _lines(f"{name} of {model}")
    question = partial(hf_hub_download, model, name, revision=revision, **shown)
    plainly = partial(or_plain_http, question, name=f"{name} of {model}")
    return Path(_asked(model, plainly, statuses=BUSY - WAITED_FOR))


def bring_weights(model: str, commit: str | None, *, pickles_allowed: bool = False) -> None:
    """Bring the weights of a Hub id, one file or the shards of an index; where there are none, loading says so.

    Args:
        model, commit: the Hub id, and which commit of it.
        pickles_allowed: whether pickles are brought where there are no safetensors.

    Raises:
        SparsityLabError: there are pickles alone, which are not allowed, or an index is broken.
        Exception: whatever huggingface_hub raises.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in (SAFE.whole, SAFE.index, *((PICKLED.whole, PICKLED.index) if pickles_allowed else ())):
        try:
            path = bring(model, name, commit)
        except LocalEntryNotFoundError:  # the Hub was not reached
            raise
        except EntryNotFoundError:
            continue
        if path.suffix == ".json":
            for shard in shards_of(path):
                bring(model, shard, commit)
        return
    if not pickles_allowed:
        pickles = [name for name in describe(model, commit)[1] if fnmatch(name, PICKLED.any)]
        if pickles:
            raise pickles_not_allowed(model, pickles)


def not_in_cache(model: str, commit: str | None, *, pickles_allowed: bool = False) -> str | None:
    """Which weights of a Hub id this machine's cache lacks, where there was no other place to look; None if none."""
    forms = [SAFE, PICKLED] if pickles_allowed else [SAFE]
    if any(cached(model, commit, form.whole) is not None for form in forms):
        return None
    index = next(filter(None, (cached(model, commit, form.index) for form in forms)), None)
    names = [SAFE.whole] if index is None else shards_of(index)
    lost = [name for name in names if cached(model, commit, name) is None]
    if not lost:
        return None
    which = f"{len(lost)} of their {len(names)} files, {lost[0]} first" if index is not None else "them"
    return f"This machine's cache lacks {which}"


def _asked(model: str, question: Callable[[], T], *, statuses: Collection[int] = BUSY) -> T:
    """The Hub's answer; a Hub that is busy is asked again, when it says, and so is one that was cut off."""
    for wait in AGAIN_S:
        try:
            return question()
        except Exception as error:
            status, asked_for = status_of(error), wait_of(error)
            cut_off = isinstance(error, extras.loaded_classes("httpx2.ReadError", "httpx.ReadError"))
            if not cut_off and (status not in statuses or asked_for > MOST_WAIT_S):
                raise
            pause = max(wait, asked_for)
            what = "the connection was lost" if cut_off else f"the Hub answers {status}"
            logger.info("%s: %s; it is asked again in %g s", model, what, pause)
            time.sleep(pause)
    return question()


def _set_time_limit() -> None:
    """Let no request of this process wait for ever: huggingface_hub sets no limit on some of them."""
    from huggingface_hub.utils import get_session

    session = get_session()
    hooks = session.event_hooks
    if _limited not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [*hooks["request"], _limited]}


def _limited(request: Any) -> None:
    """Set a limit to a request that has none, also where its caller asks for none."""
    from huggingface_hub import constants

    limits = request.extensions.get("timeout", {})
    for part in ("connect", "read", "write", "pool"):
        if limits.get(part) is None:
            limits[part] = constants.HF_HUB_DOWNLOAD_TIMEOUT
    request.extensions["timeout"] = limits


def _lines(name: str) -> type[Any]:
    """A class that huggingface_hub takes for a progress bar, and which writes lines of our log instead."""
    from tqdm import tqdm

    class Lines(tqdm):
        """Counts bytes; says how far a download is at most once every few seconds."""

        def __init__(self, *words: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*words, **{**options, "disable": True})
            self.done, self.said = int(options.get("initial") or 0), time.monotonic()
            if any(kind in name for kind in WEIGHTS):  # other files are small
                logger.info("Downloading %s%s", name, f", {_size(self.total)}" if self.total else "")

        def update(self, n: float | None = 1) -> bool | None:
            """Count bytes."""
            self.done += int(n or 0)
            if time.monotonic() - self.said >= LINE_S:
                self.said = time.monotonic()
                share = f" ({self.done / self.total:.0%})" if self.total else ""
                logger.info("Downloading %s: %s%s", name, _size(self.done), share)
            return None

        def update_transfer(self, n: float | None = 1) -> None:
            """Count no bytes again: of a file in parts that are shared, it counts those that were sent."""

        def set_transfer_postfix_str(self, *words: Any, **options: Any) -> None:
            """Say nothing of their speed."""

    return Lines


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} GB"


def cached(model: str, revision: str | None, name: str = "config.json") -> Path | None:
    """A file of a revision in the Hub's cache on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def revisions(model: str) -> list[str]:
    """Branches and tags of a Hub id, or offline those in this machine's cache; none where nobody can say."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.file_download import repo_folder_name

    try:
        refs = HfApi().list_repo_refs(model)
        return [ref.name for ref in (*refs.branches, *refs.tags)]
    except OfflineModeIsEnabled:
        folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "refs")
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    except Exception:  # it is only a help
        return []


def _no_revision(model: str, revision: str | None, *, there: list[str]) -> SparsityLabError:
    """The mistake that a revision is missing, with those that are most like it."""
    return SparsityLabError(
        f"{model} has no revision {revision}",
        fix=f"Name one that it has: {_nearest(revision, there)}" if there else HUB_FIX,
    )


def _nearest(revision: str | None, there: list[str]) -> str:
    """The revisions that are most like one, and how many more there are."""
    near = difflib.get_close_matches(revision or "main", there, n=MOST_REVISIONS, cutoff=0.0)
    return ", ".join(near) + (f" and {len(there) - len(near)} more" if len(there) > len(near) else "")


def not_loaded(what: str, model: str, error: Exception) -> SparsityLabError:
    """The mistake that something of a Hub id cannot be loaded."""
    from huggingface_hub.errors import OfflineModeIsEnabled, RemoteEntryNotFoundError

    lines = str(error).strip().splitlines()
    why = reason(error) or (lines[0] if lines else type(error).__name__)
    fix = advice(error, model) or HUB_FIX
    if isinstance(error, RemoteEntryNotFoundError):
        why = f"{model} has no {Path(error.response.url.path).name}"
    elif isinstance(error, OfflineModeIsEnabled) and (there := revisions(model)):
        fix = f"{fix}, or name a revision that is there: {_nearest(None, there)}"
    return SparsityLabError(f"Cannot load {what}", why=why, fix=fix)
