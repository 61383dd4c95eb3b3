"""Results of single series, kept as each is complete, so that a fit of many that was ended goes on where it was.

Each is a file `parts/KEY.json` of the output, named by all that determines its numbers. They are removed once fits.json
holds them all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import __version__, ranges
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.fit import forward_of
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.store.records import content_key
from sparsity_lab.store.whole_files import write_text

FOLDER = "parts"
APART = ("series", "law", "spec")  # known from the table and the command, or by name


@dataclasses.dataclass(frozen=True)
class KeptParts:
    """What a fit has kept in its output; nothing where `folder` is None."""

    folder: Path | None

    def read(self, full: Series, spec: FitSpec) -> FitResult | None:
        """The result of a series that an earlier call kept; None where there is none, or it is damaged."""
        if self.folder is None:
            return None
        with contextlib.suppress(ValueError, KeyError, TypeError):
            raw = json_or_none(self._path(full, spec))
            hints = typing.get_type_hints(FitResult)
            names = [field.name for field in dataclasses.fields(FitResult) if field.name not in APART]
            built = {name: _built(hints[name], raw[name]) for name in names}
            series = full.without_leading(raw["dropped"], forward_of(spec, full.inputs))
            if (noise := built["noise"]) is not None:
                series = dataclasses.replace(series, noise=noise.sizes)
            return FitResult(series=series, law=load_law(raw["law"]), spec=spec, **built)
        return None

    def write(self, full: Series, result: FitResult) -> None:
        """Keep the result of a series."""
        if self.folder is None:
            return
        fields = [field.name for field in dataclasses.fields(FitResult) if field.name not in APART]
        raw = {name: _plain(getattr(result, name)) for name in fields}
        raw |= {"law": result.law.name, "dropped": result.series.dropped}
        write_text(self._path(full, result.spec), json.dumps(raw))

    def clear(self) -> None:
        """Remove what was kept."""
        if self.folder is not None:
            shutil.rmtree(self.folder / FOLDER, ignore_errors=True)

    def _path(self, full: Series, spec: FitSpec) -> Path:
        assert self.folder is not None
        points = json.dumps(_plain(full)).encode("utf-8", "surrogatepass")
        made_of = {
            "points": hashlib.sha256(points).hexdigest(),
            "spec": repr(spec),
            "version": __version__,
        }
        return self.folder / FOLDER / f"{content_key(made_of)}.json"


def _plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as JSON takes them; NaN and infinity as Python writes them."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _built(kind: Any, value: Any) -> Any:
    """A value of an annotated type out of what `_plain` makes of it."""
    kind = ranges.bare(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: _built(hints[name], value[name]) for name in names})  # type: ignore[operator]
    if origin is np.ndarray:
        return np.array(value, dtype=float)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_built(each, item) for each, item in zip(kinds, value, strict=True))
    if isinstance(value, dict):
        return {key: _built(arguments[1], item) for key, item in value.items()}
    return value
