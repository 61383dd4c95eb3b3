"""Reads a ladder from YAML: sections checked key by key, lists expanded to a grid, runs named by what varies.

    model:     {hidden_size: [64, 128], layers: 4, head_dim: 16, activation: [relu, silu]}
    training:  {tokens: 4_000_000}
    runs:      optional; each entry has `model` and `training` of its own over the common ones

A list in place of a value is an axis; the runs are the product of the axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.run_sections import ModelSection, TrainingSection
from sparsity_lab.ladder.config.sections import MistakenKeyError, build, check_keys, coerce, mapping
from sparsity_lab.ladder.config.spec import DataSpec, LadderConfig, RunSpec, TokenizerSpec, TrainingSpec
from sparsity_lab.ladder.models import ModelShape
from sparsity_lab.reading.yaml_file import key_lines, read_yaml
from sparsity_lab.store.file_names import is_portable

Parsed = TypeVar("Parsed")
MOST_RUNS = 10_000
FOLDER = Path(__file__).parents[1] / "configs"
# `measure` and `fit` are read by `study_config`: what a ladder is does not depend on them.
_KEYS = ("name", "seed", "data", "tokenizer", "model", "training", "runs", "measure", "fit")
_NAME_WORDS = {
    "activation": "{}",
    "gated": "{}",
    "hidden_size": "d{}",
    "layers": "L{}",
    "intermediate_size": "F{}",
    "heads": "h{}",
    "key_value_heads": "kv{}",
    "tokens": "D{}M",
    "learning_rate": "lr{:g}",
    "schedule": "{}",
    "batch_size": "b{}",
    "window": "w{}",
}


def bundled() -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_config(name: str) -> Path:
    """The file of a config: a path, or the name of a bundled one.

    Raises:
        SparsityLabError: neither; names the nearest bundled one.
    """
    if Path(name).is_file():
        return Path(name)
    if name in bundled():
        return FOLDER / f"{name}.yaml"
    if name.endswith((".yaml", ".yml")):
        raise SparsityLabError(
            f"There is no config file {name}", fix=f"Give a YAML file or one of: {', '.join(bundled())}"
        )
    raise registry.unknown(name, kind="config", known=bundled())


def load_config(name: str | Path) -> LadderConfig:
    """Read a ladder from a YAML file, or a bundled one by name.

    Raises:
        SparsityLabError: no such file, no YAML, an unknown key (the nearest is named), a value of the wrong
            type, or an impossible model.
    """
    return read_config(name, parse_config)


def read_config(name: str | Path, parse: Callable[..., Parsed]) -> Parsed:
    """Read a YAML file, or a bundled config by name, and parse it; errors state the file's name.

    Raises:
        SparsityLabError: no such file, no YAML, or what `parse` refuses.
    """
    path = find_config(str(name))
    content = read_yaml(path)
    try:
        return parse(mapping(content, where="the config"), default_name=path.stem)
    except SparsityLabError as error:
        raise SparsityLabError(
            f"{path}{_line_of(error, path)}: {error.what}", why=error.why, fix=error.fix or "Correct it there"
        ) from error


def _line_of(error: SparsityLabError, path: Path) -> str:
    """Where in a file the key is that a mistake is about; empty where it is about more."""
    lines = key_lines(path).get(error.key, []) if isinstance(error, MistakenKeyError) else []
    return f", line {' and '.join(map(str, lines))}" if lines else ""


def parse_config(content: Mapping[str, Any], *, default_name: str = "ladder") -> LadderConfig:
    """A ladder from nested plain values, as YAML gives them.

    Raises:
        SparsityLabError: as `load_config`.
    """
    check_keys(content, _KEYS)
    tokenizer = build(TokenizerSpec, content.get("tokenizer", {}), where="tokenizer")
    seed = coerce(content.get("seed", 0), int, "seed")
    name = _name(content.get("name", default_name))
    pairs = [_resolve(model, training, vocabulary=tokenizer.vocabulary) for model, training in _grid(content)]
    names = _names([{**vars(shape), **vars(training)} for shape, training in pairs], name)
    runs = tuple(
        RunSpec(name=name, shape=shape, training=training, seed=seed)
        for name, (shape, training) in zip(names, pairs, strict=True)
    )
    return LadderConfig(
        name=name,
        runs=runs,
        data=build(DataSpec, content.get("data", {}), where="data"),
        tokenizer=tokenizer,
        seed=seed,
    )


def _name(given: object) -> str:
    """The ladder's name, which names its folder too."""
    name = str(given)
    if not isinstance(given, (str, int)) or isinstance(given, bool) or not is_portable(name):
        raise MistakenKeyError(
            f"The name {name!r} is not the name of a folder"[:200],
            key="name",
            fix="Write `name` in letters, digits, dashes and underscores, 100 at most",
        )
    return name


def _resolve(
    model: Mapping[str, Any], training: Mapping[str, Any], *, vocabulary: int
) -> tuple[ModelShape, TrainingSpec]:
    section = build(TrainingSection, training, where="training")
    shape = build(ModelSection, model, where="model").shape(vocabulary=vocabulary, window=section.window)
    return shape, section.resolve(shape)


def _grid(content: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(model, training) of every run, lists expanded."""
    common = {key: mapping(content.get(key, {}), where=key) for key in ("model", "training")}
    entries = content.get("runs", [{}])
    if not isinstance(entries, list) or not entries:
        raise MistakenKeyError(
            "`runs` must be a list of entries with `model` and `training`",
            key="runs",
            fix="Begin each entry with a dash, as `- model: {layers: 4}`, or leave `runs` out",
        )
    for entry in entries:
        check_keys(mapping(entry, where="runs"), ("model", "training"), name="runs")
        model = {**common["model"], **mapping(entry.get("model", {}), where="model")}
        training = {**common["training"], **mapping(entry.get("training", {}), where="training")}
        models, trainings = _product("model", model), _product("training", training)
        _refuse_many(len(models) * len(trainings))
        yield from itertools.product(models, trainings)


def _refuse_many(runs: int) -> None:
    if runs > MOST_RUNS:
        raise SparsityLabError(
            f"The lists make {runs:,} runs",
            why=f"A ladder has {MOST_RUNS:,} at most",
            fix="Shorten the lists, or write several configs",
        )


def _product(name: str, section: Mapping[str, Any]) -> list[dict[str, Any]]:
    axes = [value if isinstance(value, list) else [value] for value in section.values()]
    _refuse_many(math.prod(map(len, axes)))
    if empty := [key for key, axis in zip(section, axes, strict=True) if not axis]:
        raise MistakenKeyError(
            f"`{empty[0]}` is an empty list",
            key=f"{name}.{empty[0]}",
            why="An axis of the grid needs values",
            fix=f"Give `{empty[0]}` one value or more, or remove the key",
        )
    return [dict(zip(section, values, strict=True)) for values in itertools.product(*axes)]


def _names(runs: list[dict[str, Any]], alone: str) -> list[str]:
    """Names out of the values that differ, no more of them than tell the runs apart."""
    words: list[list[str]] = [[] for _ in runs]
    for key in [*_NAME_WORDS, *(key for key in runs[0] if key not in _NAME_WORDS)]:
        if len({run[key] for run in runs}) > 1:
            for run, spoken in zip(runs, words, strict=True):
                spoken.append(_word(key, run[key]))
        if len({tuple(spoken) for spoken in words}) == len(runs):
            break
    return ["-".join(spoken) or alone for spoken in words]


def _word(key: str, value: Any) -> str:
    if key == "gated":
        return "gated" if value else "plain"
    if key == "tokens":
        return f"D{value / 1e6:.4g}M"
    return _NAME_WORDS.get(key, key + "{}").format(value)
