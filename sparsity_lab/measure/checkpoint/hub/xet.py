"""Xet, the Hub's storage of files in shared parts on other hosts: where it fails, files come over plain HTTP."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from traceback import walk_tb
from typing import TypeVar

from sparsity_lab.measure.checkpoint.hub.answers import causes

logger = logging.getLogger(__name__)
SWITCH = "HF_HUB_DISABLE_XET"
T = TypeVar("T")


def or_plain_http(question: Callable[[], T], *, name: str) -> T:
    """What is asked of the Hub; a download that Xet fails at is made over plain HTTP, as are all further ones.

    Without the package hf_xet huggingface_hub does so itself.

    Args:
        question: downloads.
        name: what, for what is said.

    Raises:
        Exception: whatever huggingface_hub raises.
    """
    try:
        return question()
    except Exception as error:
        if not is_of_xet(error):
            raise
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_XET, os.environ[SWITCH] = (
            True,
            "1",
        )  # here, and in processes that are begun here
        said = " ".join(str(error).split())[:200]
        logger.warning(
            "%s: the Hub's Xet storage failed (%s); files come over plain HTTP, as with %s=1",
            name,
            said,
            SWITCH,
        )
    return question()


def is_of_xet(error: BaseException) -> bool:
    """Whether an error came out of a download by Xet, whose errors are of no class of their own."""
    from huggingface_hub import file_download

    code = getattr(getattr(file_download, "xet_get", None), "__code__", None)
    return code is not None and any(
        frame.f_code is code for each in causes(error) for frame, _ in walk_tb(each.__traceback__)
    )
