"""What the Hub's refusals and a lost network mean, for whoever reads the message, and how long to wait."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from http import HTTPStatus

from sparsity_lab import extras

HUB_FIX = "Check the Hub id, the revision and the network, or give a local directory"
BUSY = frozenset({408, 429, 500, 502, 503, 504})
NOT_WRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ENOSPC}
)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an answer that is an error; None of all else."""
    from huggingface_hub.errors import HfHubHTTPError

    return getattr(error.response, "status_code", None) if isinstance(error, HfHubHTTPError) else None


def wait_of(error: BaseException) -> float:
    """Seconds that the Hub asks to wait, by Retry-After or the header of its rate limits; 0 where it asks nothing."""
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = getattr(getattr(error, "response", None), "headers", {})
    limit, after = parse_ratelimit_headers(headers), headers.get("Retry-After", "")
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    return float(after) if after.isdigit() else 0.0


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came of."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def reason(error: BaseException) -> str | None:
    """Why the Hub gave nothing, where its own words do not say; None where they do."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    said = {
        hub.GatedRepoError: "It is gated: the Hub gives it to those alone who asked for access and are logged in",
        hub.RepositoryNotFoundError: f"The Hub at {constants.ENDPOINT} has no such repository, or does not show it",
        hub.RevisionNotFoundError: "It has no such revision",
        hub.OfflineModeIsEnabled: "It is not in this machine's cache, and offline the Hub is not asked",
    }
    for one in causes(error):
        for kind, words in said.items():
            if isinstance(one, kind):
                return words
        if isinstance(one, _timeouts()):
            return f"The Hub at {constants.ENDPOINT} did not answer in time"
        if isinstance(one, extras.loaded_classes("httpx2.NetworkError", "httpx.NetworkError")):
            return f"The connection to the Hub at {constants.ENDPOINT} failed: {one}"
        if isinstance(one, hub.HfHubHTTPError) and not isinstance(one, hub.EntryNotFoundError):
            answer = f"{one.response.status_code} {one.response.reason_phrase}"
            wait = f", and asks to wait {wait_of(one):g} s" if wait_of(one) else ""
            return f"The Hub at {constants.ENDPOINT} answers {answer}{wait}"
    return None


def advice(error: BaseException, page: str) -> str | None:
    """What to try where the Hub lets nobody in, or the cache on this machine cannot be written; None for all else.

    Args:
        error: whatever was raised.
        page: the id on the Hub, behind `datasets/` where it is a data set's.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    for one in causes(error):
        if isinstance(one, GatedRepoError):
            login = "log in with `hf auth login`, or set HF_TOKEN"
            return f"Ask for access at {constants.ENDPOINT}/{page}, then {login}"
        if isinstance(one, RepositoryNotFoundError):
            return f"{HUB_FIX}; what is private needs `hf auth login`, or HF_TOKEN"
        if isinstance(one, OfflineModeIsEnabled):
            return "Run the same once with the network, without --offline and HF_HUB_OFFLINE"
        if status_of(one) == HTTPStatus.UNAUTHORIZED:
            return "The token is not valid: log in again with `hf auth login`, or set HF_TOKEN to another, or to none"
        if status_of(one) in BUSY:
            return "Run the same command again later; it goes on where it was"
        if isinstance(one, OSError) and one.errno in NOT_WRITABLE and not isinstance(one, ConnectionError):
            return f"Set HF_HOME to a folder that can be written and has room; it is now {constants.HF_HOME}"
    return None


def _timeouts() -> tuple[type[BaseException], ...]:
    """The classes by which the HTTP libraries that are loaded say that time ran out."""
    libraries = "httpx2.TimeoutException", "httpx.TimeoutException", "requests.Timeout"
    return (TimeoutError, *extras.loaded_classes(*libraries))
