"""Every number of a config has one range, which goes by its key, and is held to it before anything is prepared."""

import copy
from dataclasses import fields, replace
from typing import get_args, get_origin

import pytest

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.run_sections import ModelSection, TrainingSection
from sparsity_lab.ladder.config.sections import LADDER, outside
from sparsity_lab.ladder.config.spec import DataSpec, LadderConfig, RunSpec, TokenizerSpec, TrainingSpec
from sparsity_lab.ladder.models import ModelShape
from sparsity_lab.ladder.study.study_config import FitSection, MeasureSection, parse_study
from sparsity_lab.ranges import Range
from sparsity_lab.reading.yaml_file import read_yaml

SECTIONS = {
    "data": DataSpec, "tokenizer": TokenizerSpec, "model": ModelSection, "training": TrainingSection,
    "measure": MeasureSection, "fit": FitSection,
}  # fmt: skip
SPECS = (*SECTIONS.values(), TrainingSpec, ModelShape, RunSpec, LadderConfig)
NEVER = [float("inf"), float("-inf"), float("nan"), ".inf", "nan", "-1e400", 10**400, -(10**400), -1, -0.5, 1e30,
         2**63, "many", True, {}, "2024-01-01"]  # fmt: skip


def numeric(kind):
    """(name, type, range) of the fields of a dataclass that are numbers, or tuples of them."""
    parts = []
    for name, hint in ranges.hints(kind).items():
        number = ranges.bare(hint)
        number = get_args(number)[0] if get_origin(number) is tuple else number
        parts.append((name, number, ranges.range_of(name, command=LADDER)))
    return [part for part in parts if part[1] in (int, float)]


def cases():
    for section, kind in SECTIONS.items():
        for name, number, allowed in numeric(kind):
            wrong = [*NEVER, *([0] if 0 not in allowed else []), *([1.5] if number is int else [])]
            ends = [allowed.low] * allowed.above + [allowed.high] * allowed.below
            ends += [end for end in (allowed.low - 1, allowed.high * 2 + 1) if end not in allowed]
            yield from ((section, name, value) for value in [*wrong, *ends])
    yield from (("", "seed", value) for value in [*NEVER, 1.5, 2**32, -1])


def with_value(content, section, name, value):
    new = copy.deepcopy(dict(content))
    new["training"] = {**new["training"], "checkpoints": 6}
    if not section:
        return {**new, name: value}
    together = {
        "tokens_per_parameter": "tokens",
        "heads": "head_dim",
        "intermediate_ratio": "intermediate_size",
    }
    new[section] = {key: v for key, v in new.get(section, {}).items() if key != together.get(name)}
    new[section][name] = [value] if name in ("fixed_cett", "segments") else value
    return new


@pytest.mark.parametrize(("section", "name", "value"), list(cases()), ids=lambda part: str(part)[:24])
@pytest.mark.long
def test_a_number_out_of_range_is_refused_by_its_key_and_range(content, section, name, value):
    with pytest.raises(SparsityLabError) as caught:
        parse_study(with_value(content, section, name, value))
    paragraph = caught.value.paragraph()
    key = f"`{section}.{name}`" if section else f"`{name}`"
    allowed = ranges.range_of(name, command=LADDER)
    assert paragraph.startswith(key)
    assert str(allowed) in paragraph
    assert len(paragraph) < 500


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_every_number_has_its_range(kind):
    assert all(isinstance(allowed, Range) for _, _, allowed in numeric(kind))
    for field in fields(kind):
        allowed = ranges.range_of(field.name, command=LADDER)
        if allowed is not None and isinstance(field.default, (int, float)):
            assert field.default in allowed, field.name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 10**30])
def test_specs_made_in_python_are_held_to_the_same_ranges(tiny, value):
    run = tiny.runs[0]
    for spec in (run.training, run.shape, tiny.data, tiny.tokenizer, run, tiny):
        for name, _, _ in numeric(type(spec)):
            with pytest.raises(SparsityLabError):
                replace(spec, **{name: value})


def test_another_seed_from_the_command_line_is_held_to_the_range_of_the_config(tiny):
    assert tiny.with_seed(2**32 - 1).seed == 2**32 - 1
    with pytest.raises(SparsityLabError):
        tiny.with_seed(2**32)


def test_whole_numbers_keep_every_digit(content):
    seed = 2**32 - 1
    assert parse_study(with_value(content, "", "seed", str(seed))).ladder.seed == seed
    assert (
        parse_study(with_value(content, "data", "max_bytes", "999999999999999")).ladder.data.max_bytes
        == 10**15 - 1
    )


@pytest.mark.parametrize(
    "text", ["seed: 010", "seed: 0b11", "seed: 0x1f", "training: {tokens: 1:30}", "x: [1:30.5]", "a: -0100"]
)
def test_numbers_that_yaml_reads_in_another_base_are_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SparsityLabError) as caught:
        read_yaml(path)
    assert "line 1" in caught.value.paragraph()


@pytest.mark.parametrize(
    "text", ["a: 0", "a: 0.5", "a: 1_000", "a: -3", "a: 1e-3", "a: '010'", "a: 10:30 o'clock"]
)
def test_other_numbers_and_words_are_read(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    assert list(read_yaml(path)) == ["a"]


def test_half_of_a_character_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('name: "a\\ud800"', encoding="utf-8")
    with pytest.raises(SparsityLabError):
        read_yaml(path)


def test_ranges_say_what_they_hold():
    assert str(Range(0, 1, above=True, below=True)) == "above 0 and below 1"
    assert str(Range(1, 10**6)) == "from 1 to 1,000,000"
    assert str(Range(0, 10**6, above=True)) == "above 0 and at most 1,000,000"
    told = outside("data.max_bytes", 0, int, Range(1, 5)).paragraph()
    assert (
        told
        == "`data.max_bytes` is 0. It must be a whole number from 1 to 5. Correct `max_bytes` under data."
    )
