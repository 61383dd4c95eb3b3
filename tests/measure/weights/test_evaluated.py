"""lm-eval's scores of a model are the same in whatever form its weights are, and under the same thresholds."""

import json
import shutil

import pytest
from transformers import AutoModelForCausalLM

from sparsity_lab.measure.checkpoint.weights.weight_files import ALLOW
from tests.command import run
from tests.measure.weights.test_adapters import MERGED, adapted, peft
from tests.measure.weights.test_pickles import ASKED, pickled

TASK = """
task: lines
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{ctx}}}}"
doc_to_target: "{{{{target}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
DOCUMENTS = 6


@pytest.fixture(scope="module")
def task(tmp_path_factory, sources):
    """A folder with a task: the second half of a line after the first."""
    folder = tmp_path_factory.mktemp("task")
    lines = [line for line in sources.splitlines() if 40 < len(line.strip()) < 80][:DOCUMENTS]
    rows = [{"ctx": line[:30], "target": line[30:]} for line in lines]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "lines.yaml").write_text(TASK.format(data=folder / "data.jsonl"))
    return folder


@pytest.fixture(scope="module")
def forms(trained, tmp_path_factory):
    """Models that compute the same, each with the flags that it needs: of one file and shards, and of an adapter."""
    root = tmp_path_factory.mktemp("forms")
    adapted(trained, root / "adapter", MERGED["lora"]())
    merged = shutil.copytree(trained, root / "merged")
    model = AutoModelForCausalLM.from_pretrained(trained)
    peft.PeftModel.from_pretrained(model, root / "adapter").merge_and_unload().save_pretrained(merged)
    whole, shards = (pickled(shutil.copytree(trained, root / str(n)), shards=n) for n in (1, 2))
    return {
        "pickle": ((trained,), (whole, ALLOW), (shards, ALLOW), (trained, "--hidden-act", "relu")),
        "adapter": ((merged,), (root / "adapter",)),
    }


def answers(folder):
    """The log-likelihoods of all documents, by setting."""
    return {
        path.relative_to(folder).parts[:-1]: [
            float(json.loads(line)["filtered_resps"][0][0]) for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.rglob("samples_*.jsonl"))
    }


@pytest.mark.parametrize("form", ["pickle", "adapter"])
def test_the_scores_are_those_of_the_safetensors(forms, task, source_text, tmp_path, form):
    (plain, *_), *others = forms[form]
    measured = run("measure", plain, "--text", source_text, *ASKED, "--output", tmp_path / "measured")
    assert measured.returncode == 0, measured.stderr
    (record,) = (tmp_path / "measured" / "records").glob("*.json")
    words = ("--tasks", "lines", "--include-path", task, "--offline", "--thresholds", record, "--output")
    expected = None
    for number, (model, *flags) in enumerate(forms[form]):
        output = tmp_path / str(number)
        done = run("eval", model, *flags, *words, output)
        assert done.returncode == 0, done.stderr
        sparse, dense = found = list(answers(output).values())  # cett 0.1 comes before dense
        assert len(dense) == DOCUMENTS
        assert dense != sparse
        expected = expected or found
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4 if form == "adapter" else 1e-9)
    refused = run("eval", others[0][0], "--hidden-act", "silu", *words, tmp_path / "refused")
    assert refused.returncode == 2
    if form == "pickle":
        refused = run("eval", others[0][0], *words, tmp_path / "refused")
        assert refused.returncode == 2
        assert ALLOW in refused.stderr
