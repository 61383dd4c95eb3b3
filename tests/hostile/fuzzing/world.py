"""The files that drawn commands are given: whole ones of every kind, small, made once; each command gets a copy."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from sparsity_lab.fitting.density.rulers.files import shipped
from sparsity_lab.store import bundled
from tests.faults.commands import LADDER
from tests.faults.zygote import ROOT, Surroundings, Zygote
from tests.fitting.lm_eval_documents import accuracy, document, write_results

LONGEST_S = 300
TASK = """task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: tasks/mine.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{ctx}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""
ARCHITECTURE_FILE = """
from sparsity_lab.measure.sites import FfnSite

MODEL_TYPES = ("llama",)


def sites(model):
    return [
        FfnSite(layer=i, name=f"model.layers.{i}.mlp", down=block.mlp.down_proj, activation=block.mlp.act_fn,
                up=block.mlp.up_proj, gated=True)
        for i, block in enumerate(model.model.layers)
    ]
"""
OPTIONS = {
    "measure": "knob: 0.1\ntokens: 256\n", "neurons": "tokens: 256\nbos: false\n", "structure": "clusters: 3\n",
    "predict": "rank: [2, 4]\n", "affinity": "context: 10\n", "fit": "bootstrap: 3\nlaw: power\n",
    "density": "ruler: Qwen1.5\nsensitivity: false\n", "eval": "limit: 1\n", "heat": "tokens: 30\n",
}  # fmt: skip
# What the commands themselves make, in this order: the words, all in one folder.
MADE = (
    "measure checkpoints --text text.txt --tokens 512 --window 64 --knob 0.1 --output measured",
    "neurons model --thresholds record.json --text a=text.txt --tokens 512 --window 64 --written-tokens 0 "
    "--output neurons",
    "predict model --thresholds record.json --text a=text.txt --tokens 512 --window 64 --epochs 1 --rank 2 "
    "--output predictors",
    "structure model --thresholds record.json --text a=text.txt --tokens 512 --window 64 --clusters 4 --routed 1 "
    "--draws 19 --permutations 19 --output structure",
    "affinity neurons --output affinity",
    "heat model --thresholds record.json --text text.txt --tokens 30 --output heat",
    "train ladder.yaml --output trained",
    "fit points.csv --bootstrap 5 --jobs 1 --lock first --output fits",
    "fit runs.csv --x params,tokens --y loss --bootstrap 5 --lock first --output runs-fit",
)


def build(folder: Path, *, zygote: Zygote, checkpoints: Path, text: Path, record: Path) -> None:
    """Fill a folder with a file of each kind that a command reads, and with what the commands wrote of them."""
    shutil.copytree(checkpoints, folder / "checkpoints")
    shutil.copytree(checkpoints / "step-10", folder / "model")
    for name, most in (("text.txt", 30_000), ("other.txt", 20_000)):
        (folder / name).write_text(text.read_text(encoding="utf-8")[-most:], encoding="utf-8")
    shutil.copy(record, folder / "record.json")
    _tables(folder)
    _documents(folder, text)
    around = Surroundings(folder=str(folder))
    for words in MADE:
        ended = zygote.run_in(around, "--quiet", *words.split(), kill_after_s=LONGEST_S)
        assert ended.code == 0, (words, ended.said)


def _tables(folder: Path) -> None:
    steps = range(1, 9)
    write = {
        "points": [("series", "tokens", "activation_ratio", "se"),
                   *(("a", n * 10**9, round(0.2 - 0.1 * n**-0.5, 4), 0.001) for n in steps)],
        "prices": [("model", "release_date", "price", "score"),
                   *((f"m{n}", f"2023-0{n}-01", 9 - n, 0.7) for n in steps)],
        "tokens": [("checkpoint", "trained_tokens"), *((f"step-{n}", n * 1000) for n in (1, 2, 3, 10))],
        "about": [("model", "family", "release_date", "params_b", "tokens_b"),
                  *((f"lab/m-{n}B", "mine", f"2024-0{n}-01", n, 100) for n in steps)],
    }  # fmt: skip
    for name, source, most in (
        ("runs", "chinchilla", 40), ("ladder", "olmo-ladder", 200), ("models", "obsscaling-models", 60),
        ("pairs", "density-pairs", 9),
    ):  # fmt: skip
        with bundled.path(source).open(newline="", encoding="utf-8") as stream:
            write[name] = list(csv.reader(stream))[:most]
    for name, rows in write.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)


def _documents(folder: Path, text: Path) -> None:
    data = {"max_bytes": 60_000, "validation_share": 0.45, "files": ["text.txt", "other.txt"]}
    ladder = LADDER | {"data": data, "measure": {"tokens": 256, "window": 32}, "fit": {"bootstrap": 5}}
    longer = ladder | {"training": ladder["training"] | {"checkpoints": 8}}
    for name, content in (("ladder", ladder), ("study", longer)):
        (folder / f"{name}.yaml").write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
    for command, content in OPTIONS.items():
        (folder / f"{command}.yaml").write_text(content, encoding="utf-8")
    (folder / "architecture.py").write_text(ARCHITECTURE_FILE, encoding="utf-8")
    shutil.copy(shipped()["obs-pythia"], folder / "ruler.json")
    shutil.copytree(ROOT / "results" / "density" / "open_base_models", folder / "density")
    write_results(
        folder / "results", *(document(model=f"lab/m-{n}B", scores=accuracy(0.3 + n / 20), params=n * 10**9)
                              for n in range(1, 7))
    )  # fmt: skip
    (folder / "tasks").mkdir()
    (folder / "tasks" / "mine.yaml").write_text(TASK, encoding="utf-8")
    rows = [{"ctx": f"def f{n}", "choices": ["(self):", " import", "return"], "gold": 0} for n in range(6)]
    (folder / "tasks" / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
