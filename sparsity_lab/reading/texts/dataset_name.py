"""Names of datasets as users write them: NAME[@REVISION][:CONFIG[:SPLIT]], or a short name for all of these.

The short names are those that people measure perplexity on:

    wikitext      the test split of WikiText-2, an article a row, as lm-eval's task `wikitext` reads it. In
                  Salesforce/wikitext a row is a line, which holds no window
    c4            the validation split of C4's English part, which lm-eval's task `c4` reads and the codes of GPTQ and
                  its kin take their test samples from
    fineweb-edu   the smallest sample of FineWeb-Edu; it has a train split alone
    pile          the Pile's own validation split, which is apart from what models of the Pile were trained on;
                  monology/pile-uncopyrighted and NeelNanda/pile-10k are of the training part
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sparsity_lab.errors import SparsityLabError


class ShortName(NamedTuple):
    """The dataset that a short name means."""

    dataset: str
    config: str | None
    split: str
    column: str


SHORT_NAMES = {
    "wikitext": ShortName("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "test", "page"),
    "c4": ShortName("allenai/c4", "en", "validation", "text"),
    "fineweb-edu": ShortName("HuggingFaceFW/fineweb-edu", "sample-10BT", "train", "text"),
    "pile": ShortName("mit-han-lab/pile-val-backup", None, "validation", "text"),
}
_FORM = re.compile(r"(?P<name>[^:@]+)(@(?P<revision>[^:]+))?(:(?P<config>[^:]*)(:(?P<split>[^:]+))?)?")
FORM = "NAME[:CONFIG[:SPLIT]]"


@dataclass(frozen=True)
class _Parts:
    dataset: str
    revision: str | None
    config: str | None
    split: str | None
    column: str


class DatasetName(str):
    """A dataset as a user names it; what lies at that very path wins over a short name and over what is on the Hub.

    Raises:
        SparsityLabError: not understood.
    """

    @property
    def parts(self) -> _Parts:
        """Dataset, revision, config, split and usual column; None where they are left open."""
        name, rest = self._local()
        found = _FORM.fullmatch("x" + rest if name else self)
        if found is None or not self.strip():
            raise SparsityLabError(
                f"The dataset {str(self)!r} is not understood",
                fix=f"Write {FORM}: wikitext, allenai/c4:en:validation, or a folder",
            )
        revision, config, split = found["revision"], found["config"] or None, found["split"]
        if name:
            return _Parts(name, revision, config, split, "text")
        known = SHORT_NAMES.get(found["name"])
        if known is None:
            return _Parts(found["name"], revision, config, split, "text")
        return _Parts(known.dataset, revision, config or known.config, split or known.split, known.column)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine, rather than on the Hub."""
        return bool(self._local()[0])

    @property
    def label(self) -> str:
        """What tables call it: the last part of its name, and its config where that was given."""
        found = self.parts
        name = (
            self.partition(":")[0] if not self.is_local else os.path.basename(os.path.normpath(found.dataset))
        )
        return name.rpartition("/")[2] or name

    def _local(self) -> tuple[str, str]:
        """The path that it begins with, and what follows; an empty one where there is none."""
        words = self.split(":")
        for number in range(len(words), 0, -1):
            path = ":".join(words[:number])
            if path and os.path.exists(path):
                return path, str(self)[len(path) :]
        return "", str(self)


TextPlace = Path | DatasetName
