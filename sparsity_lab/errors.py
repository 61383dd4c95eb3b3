"""The one exception for the user's mistakes: what happened, why, and what to try.

The command line prints it as one paragraph and exits 2; a traceback always means a bug of ours.
"""

from __future__ import annotations

REPORT_FIX = "Report this with the command that led here"


class SparsityLabError(Exception):
    """A mistake the user can mend, told in one paragraph.

    Args:
        what: what could not be done; names the file, row or flag.
        why: the cause, as far as it is known.
        fix: what to try.
    """

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The sentences joined to one paragraph, each closed by a full stop."""
        parts = (" ".join(part.split()) for part in (self.what, self.why, self.fix) if part)
        return " ".join(part if part[-1] in ".!?" else part + "." for part in parts)

    def copy(self) -> SparsityLabError:
        """The same mistake without its traceback, which would keep alive whatever its frames hold."""
        return _rebuild(type(self), self.what, self.why, self.fix)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return _rebuild, (type(self), self.what, self.why, self.fix)


class RunError(SparsityLabError):
    """A mistake that concerns a whole run and none of its checkpoints: an option, a text, an output."""


class InapplicableError(SparsityLabError):
    """What was asked for does not exist for a model, such as a criterion on a gate that it lacks."""


def _rebuild(kind: type[SparsityLabError], what: str, why: str, fix: str) -> SparsityLabError:
    return kind(what, why=why, fix=fix)
