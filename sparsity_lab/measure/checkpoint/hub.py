"""Asks the Hub: which commit a revision is and for its files, in bounded time, with a line every few seconds."""

from __future__ import annotations

import errno
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.weights.weight_files import (
    PICKLED,
    SAFE,
    pickles_not_allowed,
    shards_of,
)

logger = logging.getLogger(__name__)
HUB_FIX = "Check the Hub id, the revision and the network, or give a local directory"
AGAIN_S = (1.0, 2.0, 4.0)  # waits before a Hub that is busy is asked again
BUSY = frozenset({408, 429, 500, 502, 503, 504})
WEIGHTS = (".safetensors of ", ".bin of ")
LINE_S = 5.0  # between two lines about one download
NOT_WRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ENOSPC}
)
T = TypeVar("T")


def describe(model: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit that a revision of a Hub id means now, and the names of its files.

    Raises:
        Exception: whatever huggingface_hub raises.
    """
    from huggingface_hub import HfApi, constants

    _set_time_limit()
    found = _asked(
        model,
        lambda: HfApi().model_info(model, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT),
    )
    return str(found.sha), [file.rfilename for file in found.siblings or ()]


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
    return Path(_asked(model, lambda: hf_hub_download(model, name, revision=revision, **shown)))


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


def _asked(model: str, question: Callable[[], T]) -> T:
    """The Hub's answer; a Hub that is busy is asked again."""
    from huggingface_hub.errors import HfHubHTTPError

    for wait in AGAIN_S:
        try:
            return question()
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status not in BUSY:
                raise
            logger.info("%s: the Hub answers %s; it is asked again in %g s", model, status, wait)
            time.sleep(wait)
    return question()


def _set_time_limit() -> None:
    """Let no request of this process wait for ever: huggingface_hub sets no limit on some of them."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    session = get_session()
    limit = getattr(session, "timeout", None)  # requests' sessions, of earlier versions, have none
    if limit is not None and limit.read is None:
        session.timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT


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

    return Lines


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} GB"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came of."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def reason(error: Exception) -> str | None:
    """Why the Hub gave nothing, where its own words do not say; None where they do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError

    for one in causes(error):
        if isinstance(one, GatedRepoError):
            return "It is gated: the Hub gives it to those alone who asked for access and are logged in"
        if isinstance(one, _timeouts()):
            return f"The Hub at {constants.ENDPOINT} did not answer in time"
    return None


def advice(error: Exception, page: str) -> str | None:
    """What to try where the Hub lets nobody in, or the cache on this machine cannot be written; None for all else.

    Args:
        error: whatever was raised.
        page: the id on the Hub, behind `datasets/` where it is a data set's.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    for one in causes(error):
        if isinstance(one, GatedRepoError):
            login = "log in with `hf auth login`, or set HF_TOKEN"
            return f"Ask for access at {constants.ENDPOINT}/{page}, then {login}"
        if isinstance(one, RepositoryNotFoundError):
            return f"{HUB_FIX}; what is private needs `hf auth login`, or HF_TOKEN"
        if isinstance(one, OSError) and one.errno in NOT_WRITABLE and not isinstance(one, ConnectionError):
            return f"Set HF_HOME to a folder that can be written and has room; it is now {constants.HF_HOME}"
    return None


def _timeouts() -> tuple[type[BaseException], ...]:
    """The classes by which the HTTP libraries that are loaded say that time ran out."""
    libraries = "httpx2.TimeoutException", "httpx.TimeoutException", "requests.Timeout"
    return (TimeoutError, *extras.loaded_classes(*libraries))


def cached(model: str, revision: str | None, name: str = "config.json") -> Path | None:
    """A file of a revision in the Hub's cache on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def not_loaded(what: str, model: str, error: Exception) -> SparsityLabError:
    """The mistake that something of a Hub id cannot be loaded."""
    lines = str(error).strip().splitlines()
    return SparsityLabError(
        f"Cannot load {what}",
        why=reason(error) or (lines[0] if lines else type(error).__name__),
        fix=advice(error, model) or HUB_FIX,
    )
