"""Files by folder or by pattern: links are followed, loops are not, and whatever is left out is reported.

A folder is entered once for every place it is linked from, so that files which mean something relative to their
place are seen at each; a link back to a folder that holds it is left out.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

LOOP = "the link leads back to a folder that holds it"
AGAIN = "its contents are already read at {}"
NOWHERE = "the link leads nowhere"
_SHOWN = 5  # of what is left out for one reason

Skip = Callable[[Path], "str | None"]


def matching(pattern: str) -> list[Path]:
    """What a name or pattern matches, sorted; a path that is there is itself, whatever signs are in its name.

    So is the part of the pattern that names a folder which is there: `texts [v2]/*.txt` looks into `texts [v2]`.
    """
    if os.path.exists(pattern):
        return [Path(pattern)]
    there = next((folder for folder in Path(pattern).parents if os.path.exists(folder)), Path())
    rest = str(Path(pattern).relative_to(there))
    literal = "" if there == Path() else glob.escape(str(there))
    return sorted(Path(name) for name in glob.glob(os.path.join(literal, rest), recursive=True))


@dataclass(frozen=True)
class LeftOut:
    """A folder that was not walked.

    Attributes:
        path: the folder or link.
        why: the reason, in words.
        lost: whether it should have been walked: it is unreadable, or a link that leads nowhere.
    """

    path: Path
    why: str
    lost: bool


@dataclass
class Walk:
    """The folders below `root`, root first, names in order, and after that what was left out.

    Attributes:
        root: where to begin; it is walked whatever it is called.
        skip: why a folder is not to be entered, or None; asked for every folder but the root.
        left_out: what was not walked, filled while walking.
    """

    root: Path
    skip: Skip = lambda folder: None
    left_out: list[LeftOut] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Path, list[str]]]:
        """(folder, names of its files), each folder before those inside it."""
        entered: dict[tuple[int, int, str], Path] = {}  # (device and inode of the parent, name) -> where
        waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(self.root, ())]
        while waiting:
            folder, above = waiting.pop()
            if (why := self.skip(folder)) is not None and folder != self.root:
                self._leave(folder, why, lost=False)
                continue
            try:
                status = os.stat(folder)
                if (identity := (status.st_dev, status.st_ino)) in above:
                    self._leave(folder, LOOP, lost=False)
                    continue
                with os.scandir(folder) as entries:
                    inner, files = self._sorted(entries)
            except OSError as error:
                self._leave(folder, error.strerror or str(error))
                continue
            yield folder, files
            for name in reversed(inner):
                path = folder / name
                if (earlier := entered.setdefault((*identity, name), path)) == path:
                    waiting.append((path, (*above, identity)))
                else:
                    self._leave(path, AGAIN.format(earlier), lost=False)

    def files(self) -> Iterator[Path]:
        """Every file, in order."""
        return (folder / name for folder, names in self for name in names)

    def tell(self) -> None:
        """Log what was left out, one line a reason."""
        reasons: dict[tuple[str, bool], list[str]] = {}
        for entry in self.left_out:
            reasons.setdefault((entry.why, entry.lost), []).append(str(entry.path))
        for (why, lost), paths in reasons.items():
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            level = logging.WARNING if lost else logging.INFO
            logger.log(level, "Left out: %s%s (%s)", ", ".join(paths[:_SHOWN]), more, why)

    def _sorted(self, entries: Iterator[os.DirEntry[str]]) -> tuple[list[str], list[str]]:
        """(folders, files) by name, links to folders last; what is neither and a link leads nowhere."""
        folders, files = [], []
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                if entry.is_dir():
                    folders.append((entry.is_symlink(), entry.name))
                elif entry.is_file():
                    files.append(entry.name)
                elif entry.is_symlink():
                    self._leave(Path(entry.path), NOWHERE)
            except OSError as error:
                self._leave(Path(entry.path), error.strerror or str(error))
        return [name for _, name in sorted(folders)], files

    def _leave(self, path: Path, why: str, *, lost: bool = True) -> None:
        self.left_out.append(LeftOut(path, why, lost))
