"""The one exception for the user's mistakes: what happened, why, and what to try.

The command line prints it as one paragraph and exits 2; a traceback always means a bug of ours. The words are for
people: code that acts on a mistake asks for its class and for the attributes of that class.
"""

from __future__ import annotations

import copy

REPORT_FIX = "Report this with the command that led here"


class SparsityLabError(Exception):
    """A mistake the user can fix, explained in one paragraph.

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
        return copy.copy(self)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return _rebuild, (type(self), *self.args), self.__dict__


class UnknownNameError(SparsityLabError):
    """A name that is none of the known ones.

    Attributes:
        nearest: the known name that is most like it, or None where none is alike.
    """

    def __init__(self, what: str, *, why: str = "", fix: str = "", nearest: str | None = None) -> None:
        super().__init__(what, why=why, fix=fix)
        self.nearest = nearest


class RunError(SparsityLabError):
    """A mistake that concerns a whole run and none of its checkpoints: an option, a text, an output."""


class InapplicableError(SparsityLabError):
    """What was asked for does not exist for a model, such as a criterion on a gate that it lacks."""


def _rebuild(kind: type[SparsityLabError], *arguments: object) -> SparsityLabError:
    """An error whose attributes are set afterwards."""
    return kind.__new__(kind, *arguments)
