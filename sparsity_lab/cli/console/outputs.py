"""Words after `--output` that would silently mean another place than the one that was meant."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from sparsity_lab.errors import SparsityLabError

FLAGS = ("--output", "-o")
_HALF_A_URL = re.compile(r"(s3|gs|gcs|az|abfs|adl|hdfs|sftp|ssh|hf):(?!/)(.+)", re.IGNORECASE)
_CHAIN = re.compile(r"[a-z][a-z0-9+.-]*::", re.IGNORECASE)
_FILE_OF_A_HOST = re.compile(r"(?:file|local):(?://)?(?!/)(.+)", re.IGNORECASE)


def check_outputs(words: list[str]) -> None:
    """Refuse an empty name, half a URL, a chain of URLs, and a file URL without its three slashes.

    Raises:
        SparsityLabError: an --output that is one of these.
    """
    for output in _outputs(words):
        if not output.strip():
            raise SparsityLabError(
                "--output is empty",
                why="A variable of the shell's may not be set",
                fix="Name a folder, or . for this one",
            )
        if half := _HALF_A_URL.fullmatch(output):
            raise SparsityLabError(
                f"--output {output} is half a URL",
                fix=f"Write {half[1]}://{half[2]}, or ./{output} for a folder of that name",
            )
        if _CHAIN.match(output):
            raise SparsityLabError(
                f"--output {output} chains URLs, which is not supported", fix="Write the last of them alone"
            )
        if host := _FILE_OF_A_HOST.fullmatch(output):
            raise SparsityLabError(
                f"--output {output} is no file URL",
                why="Three slashes begin one: nothing stands where a machine would be named",
                fix=f"Write file:///{host[1]} for /{host[1]}, or {host[1]} for a folder here",
            )


def _outputs(words: list[str]) -> Iterator[str]:
    """What follows --output or -o, as a word of its own, behind `=`, or joined to the short one."""
    yield from (following for word, following in itertools.pairwise(words) if word in FLAGS)
    yield from (word.removeprefix("--output=") for word in words if word.startswith("--output="))
    yield from (word.removeprefix("-o") for word in words if re.match(r"-o[^=-]", word))
