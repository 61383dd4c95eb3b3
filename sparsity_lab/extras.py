"""Optional packages: whether they are installed, whether they work, and the command that installs an extra.

The extras are those of pyproject.toml. Looking a package up does not import it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from sparsity_lab.errors import SparsityLabError

PROJECT = "sparsity-lab"
EXTRAS = {
    "measure": (
        "accelerate", "datasets", "gguf", "huggingface_hub", "lm_eval", "safetensors", "tokenizers", "torch",
        "transformers", "triton", "zstandard",
    ),
    "cluster": ("ray", "submitit"),
    "loggers": ("tensorboard", "wandb"),
    "adapters": ("peft",),
}  # fmt: skip
MODEL = ("torch", "transformers", "tokenizers", "safetensors")  # what running any model takes
LAUNCHERS = {"ray": ("ray",), "slurm": ("submitit",)}
IMPORT_MACHINERY = ("importlib", "contextlib", "functools", "typer", "click", "sparsity_lab")
MOST_LETTERS = 300


class MissingPackageError(SparsityLabError, ImportError):
    """A package that is not part of the light base, and is not installed."""


def is_installed(package: str) -> bool:
    """Whether an import of the package would find one; a folder of that name is not a package."""
    try:
        found = find_spec(package)
    except ValueError:  # a module that was put in place by hand
        return True
    return found is not None and found.origin is not None


def loaded_classes(*names: str) -> tuple[type, ...]:
    """Those of the classes, named as `module.Class`, whose modules are imported already; imports nothing."""
    found = (
        getattr(sys.modules.get(module), own, None) for module, _, own in (n.rpartition(".") for n in names)
    )
    return tuple(one for one in found if isinstance(one, type))


def require(*packages: str, who: str) -> None:
    """Refuse to begin where packages are missing.

    Args:
        packages: import names.
        who: the command, option or file that needs them.

    Raises:
        MissingPackageError: with the command that installs them.
    """
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return
    named = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
    verb = "are" if len(missing) > 1 else "is"
    extras = sorted({name for name, members in EXTRAS.items() if set(members) & set(missing)})
    needed, fix = named, f"Install it: pip install {missing[0]}"
    if extras:
        needed = f"{PROJECT}[{','.join(extras)}]"
        fix = f"Install what is missing: {install_command(*extras)}"
    raise MissingPackageError(f"{who} needs {needed}", why=f"{named} {verb} not installed", fix=fix)


def install_command(*extras: str) -> str:
    """The pip command that adds extras to the installed package, from where it was installed."""
    chosen = f"[{','.join(extras)}]"
    origin = _origin()
    url = str(origin.get("url", ""))
    if "dir_info" in origin and not _is_project(url):
        url = ""  # the clone is gone
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if url and origin.get("dir_info", {}).get("editable"):
        return f"pip install --editable '{_folder(url)}{chosen}'"
    if url:
        return f"pip install '{PROJECT}{chosen} @ {url}'"
    return f"pip install '{PROJECT}{chosen}', or pip install '.{chosen}' in a clone of it"


@contextmanager
def explained() -> Iterator[None]:
    """Say in a paragraph that a package of others is installed but broken, or too old; other errors pass.

    Raises:
        SparsityLabError: with the error that began it.
    """
    try:
        yield
    except SparsityLabError:
        raise
    except Exception as error:
        package = _broken(error)
        if package is None:
            raise
        first = list(_chain(error))[-1]
        said = " ".join(str(first).split())[:MOST_LETTERS]
        raise SparsityLabError(
            f"The package {package}{_version(package)} does not work as it is installed",
            why=f"{type(first).__name__}: {said}",
            fix=f'Mend or reinstall it in this environment; python -c "import {package}" tries it alone',
        ) from error


def _origin() -> dict[str, Any]:
    """Where the installed package came from, as pip recorded it; nothing where it came from an index."""
    beside = Path(__file__).resolve().parents[1]
    from importlib import metadata  # slow to import, and seldom asked

    try:
        text = metadata.distribution(PROJECT).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        found = (beside / "pyproject.toml").is_file()
        return {"url": beside.as_uri(), "dir_info": {"editable": True}} if found else {}
    with suppress(ValueError):
        origin = json.loads(text or "{}")
        if isinstance(origin, dict):
            return origin
    return {}


def _folder(url: str) -> Path:
    from urllib.request import url2pathname

    return Path(url2pathname(url.removeprefix("file://")))


def _is_project(url: str) -> bool:
    return url.startswith("file://") and (_folder(url) / "pyproject.toml").is_file()


def _broken(error: Exception) -> str | None:
    """The foreign package whose import failed, or None where an error has nothing to do with imports."""
    for one in _chain(error):
        named = (getattr(one, "name", None) or "").partition(".")[0] if isinstance(one, ImportError) else ""
        if named == __package__:
            return None  # a mistake of ours
        frames = [
            (name, is_body) for name, is_body in _frames(one.__traceback__) if name not in IMPORT_MACHINERY
        ]
        importing = [name for name, is_body in frames if is_body]
        if importing:
            return importing[0]
        if isinstance(one, ImportError) and (frames or named):
            return frames[0][0] if frames else named
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it, the first cause last."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, bool]]:
    """Package of each frame, and whether it is the body of a module, which runs while that is imported."""
    while trace is not None:
        code, name = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__", ""))
        yield name.partition(".")[0], code.co_name == "<module>"
        trace = trace.tb_next


def _version(package: str) -> str:
    from importlib import metadata

    with suppress(metadata.PackageNotFoundError):
        return f" {metadata.version(package)}"
    return ""
