"""Prints the lowest versions that pyproject.toml allows as exact pins: of the dependencies, and of the extras named."""

import re
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def main(extras):
    with open("pyproject.toml", "rb") as stream:
        project = tomllib.load(stream)["project"]
    lines = [
        *project["dependencies"],
        *(line for one in extras for line in project["optional-dependencies"][one]),
    ]
    lowest = {}
    for line in lines:
        name, version, marker = re.fullmatch(r"([\w-]+)>=([\d.]+)\s*(;.*)?", line).groups()
        # A package that an extra needs in a higher version than the base has the higher one.
        parts = [int(part) for part in version.split(".")]
        lowest[name] = max(lowest.get(name, ([], "", "")), (parts, version, marker or ""))
    for name, (_, version, marker) in lowest.items():
        print(f"{name}=={version}{marker}")


main(sys.argv[1:])
