"""Configs of ladders and studies, and texts that look like YAML: our own error, or a config."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sparsity_lab.ladder.config.ladder_config import parse_config
from sparsity_lab.ladder.study.study_config import parse_study
from sparsity_lab.reading.yaml_file import read_yaml
from tests.hostile.made_up import BRIEF, LEAVES, VALUES, attempt, written

SECTIONS = {
    "model": ["hidden_size", "layers", "head_dim", "heads", "activation", "gated", "intermediate_size"],
    "training": [
        "tokens",
        "learning_rate",
        "schedule",
        "batch_size",
        "window",
        "warmup_steps",
        "checkpoints",
    ],
    "data": ["corpus", "files", "max_epochs", "validation_share"],
    "tokenizer": ["vocabulary"],
    "measure": ["tokens", "window", "criterion", "ppl_increase", "stabilise", "fixed_cett"],
    "fit": ["bootstrap", "drop", "segments"],
}
GOOD = {
    "model": {"hidden_size": 64, "layers": 2, "head_dim": 16, "activation": "relu"},
    "training": {"tokens": 4_000_000},
    "data": {"corpus": "python"},
}
CONFIGS = st.fixed_dictionaries(
    {},
    optional={name: st.dictionaries(st.sampled_from(keys), VALUES, max_size=2).map(
        lambda d, n=name: GOOD.get(n, {}) | d)
              | VALUES for name, keys in SECTIONS.items()}
    | {"name": LEAVES, "seed": LEAVES, "runs": VALUES},
).map(lambda found: GOOD | found)  # fmt: skip


@BRIEF
@given(content=CONFIGS)
def test_configs(scratch, content):
    path = written(scratch, yaml.safe_dump(content, allow_unicode=True))
    read = attempt(read_yaml, path)
    for parse in (parse_config, parse_study):
        attempt(parse, read if isinstance(read, dict) else content, default_name="a")


@BRIEF
@given(text=st.text("abc:-[]{}&*!|>'\"#%@,?\n\t 0123.~<=é", max_size=60))
def test_texts_that_look_like_yaml(scratch, text):
    attempt(read_yaml, written(scratch, text))
