"""What a model, a config or a result may not do: run code, leave its folder, or write script into a page."""

import ast
import json
import pickle
from pathlib import Path

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.results import read_evaluations
from sparsity_lab.fitting.page.write import write_report
from sparsity_lab.ladder.config.ladder_config import parse_config
from sparsity_lab.measure.checkpoint.loading import Source, load_model
from sparsity_lab.store.file_names import file_name
from tests.hostile.battery import snapshot

PACKAGE = Path(__file__).parents[2] / "sparsity_lab"
FILES = sorted(PACKAGE.rglob("*.py"))
# Callables that turn data into code, or an archive into files.
RUNS_DATA = {"eval", "exec", "compile", "__import__", "execfile"}
READS_CODE = {
    ("torch", "load"), ("pickle", "load"), ("pickle", "loads"), ("joblib", "load"), ("marshal", "loads"),
    ("yaml", "load"), ("yaml", "load_all"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("os", "system"),
    ("os", "popen"), ("shutil", "unpack_archive"), ("runpy", "run_path"), ("pandas", "read_pickle"),
    ("pd", "read_pickle"), ("pd", "eval"),
}  # fmt: skip
FOREIGN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "joblib",
    "tarfile",
    "zipfile",
    "runpy",
}


def called(node):
    """(module, function) of a call by its words; module None for a bare name."""
    if isinstance(node.func, ast.Name):
        return None, node.func.id
    if isinstance(node.func, ast.Attribute):
        return getattr(node.func.value, "id", ""), node.func.attr
    return "", ""


def findings(source):
    """What in a source would run or unpickle data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            module, name = called(node)
            told = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            weights = (module, name) == ("torch", "load") and told.get("weights_only") is True
            if (module is None and name in RUNS_DATA) or ((module, name) in READS_CODE and not weights):
                yield f"{node.lineno}: {module or ''}.{name}"
            for word in node.keywords:
                off = isinstance(word.value, ast.Constant) and word.value.value is False
                if word.arg in ("trust_remote_code", "allow_pickle", "shell") and not off:
                    yield f"{node.lineno}: {word.arg}"
        elif isinstance(node, ast.Import):
            yield from (
                f"{node.lineno}: {one.name}"
                for one in node.names
                if one.name.split(".")[0] in FOREIGN_MODULES
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FOREIGN_MODULES:
            yield f"{node.lineno}: {node.module}"


@pytest.mark.parametrize(
    "source",
    ["eval('1')", "import torch\ntorch.load('a')", "torch.load(a, weights_only=False)",
     "torch.load(a, weights_only=b)", "import pickle", "from pickle import loads", "yaml.load(x)",
     "m.from_pretrained(a, trust_remote_code=True)", "m.from_pretrained(a, trust_remote_code=wanted)",
     "subprocess.run(a, shell=True)", "np.load(a, allow_pickle=True)", "exec(text)"],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(source):
    assert list(findings(source))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
@pytest.mark.long
def test_no_file_of_the_package_runs_data(path):
    found = findings(path.read_text(encoding="utf-8"))
    lists_parts = path.name == "pickled.py"  # of an archive, and unpacks none
    assert not [one for one in found if not (lists_parts and one.endswith(": zipfile"))]


@pytest.mark.long
def test_every_loader_of_transformers_is_told_to_run_nothing():
    """`from_pretrained` without the word would ask the user on a terminal."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node)[1] == "from_pretrained":
                if called(node)[0] == "PeftModel":
                    continue  # it has no such word, and reads a config and tensors of a folder on this machine
                assert "trust_remote_code" in {word.arg for word in node.keywords}, f"{path}:{node.lineno}"


def test_only_a_users_own_architecture_file_is_executed():
    users = [path.name for path in FILES if "exec_module" in path.read_text(encoding="utf-8")]
    assert users == ["__init__.py"]
    assert "exec_module" in (PACKAGE / "measure" / "architectures" / "__init__.py").read_text(
        encoding="utf-8"
    )


class Touches:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_of_weights_is_never_loaded(world, name):
    folder = world.model()
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({"model.embed_tokens.weight": Touches()}))
    with pytest.raises(SparsityLabError, match="safetensors"):
        load_model(Source(str(folder)), dtype=torch.float32, device="cpu")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "..", ".", "a/b", "a\0b", "\\\\server\\share", "~", " "]
)
def test_names_of_series_stay_in_their_folder(name, tmp_path):
    """A lock or a plot is called by its series."""
    path = (tmp_path / f"{file_name(name)}.toml").resolve()
    assert path.parent == tmp_path.resolve()
    assert path.name.endswith(".toml")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", ".", "a/b", "a\0b", "a\\b", ""])
def test_names_of_ladders_stay_in_their_folder(name):
    content = {"model": {"hidden_size": 64, "layers": 2, "head_dim": 16, "activation": "relu"},
               "training": {"tokens": 4_000_000}, "data": {"corpus": "python"}, "name": name}  # fmt: skip
    with pytest.raises(SparsityLabError, match="not the name of a folder"):
        parse_config(content)


def test_a_task_named_like_a_path_reads_nothing_outside(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "samples_x_2024.jsonl").write_text("no JSON: read, it would be an error")
    (folder / "samples_").mkdir()
    document = {"results": {"/../../samples_x": {"acc,none": 0.5}}, "model_name": "a-1B", "config": {}}
    (folder / "results_2024.json").write_text(json.dumps(document))
    (evaluation,) = read_evaluations(folder)
    assert evaluation.tasks["/../../samples_x"].loss is None


def test_a_model_named_with_a_script_is_only_text(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    (tmp_path / "table.csv").write_text(f'series,tokens\n"{evil}",1\n')
    (tmp_path / "eval.json").write_text(
        json.dumps({"rows": [{"setting": evil, "mean": 0.5}], "provenance": {}})
    )
    page = write_report(tmp_path).path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_run_that_was_refused_leaves_the_model_alone(world):
    """Nothing is ever written into a model's folder."""
    before = snapshot(world.trained)
    load_model(Source(str(world.trained)), dtype=torch.float32, device="cpu")
    assert snapshot(world.trained) == before
