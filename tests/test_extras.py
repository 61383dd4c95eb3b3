"""A command whose packages are missing or broken says so in a paragraph, before anything else."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sparsity_lab import extras, registry
from sparsity_lab.cli.console import needs
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.extras import MissingPackageError
from tests.command import exit_code

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
MODEL_EXTRA = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "accelerate",
    "lm_eval",
    "gguf",
)
# Hides packages from every import, as an environment without them does, and then runs the command line.
WITHOUT = """
import sys
hidden = set(sys.argv.pop(1).split(","))
class Hide:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else real(name, package)
sys.meta_path.insert(0, Hide)
"""
RUN = WITHOUT + "from sparsity_lab.__main__ import program; program()\n"
COMMANDS = {
    "measure m --text t.txt": "measure",
    "measure m --text t.txt --dry-run": "measure",
    "eval m --tasks arc_easy": "measure",
    "train demo --dry-run": "measure",
    "study laptop --dry-run": "measure",
    "neurons m --thresholds r.json --text t.txt": "measure",
    "structure m --thresholds r.json --text t.txt": "measure",
    "predict m --thresholds r.json --text t.txt": "measure",
    "heat m --thresholds r.json --text t.txt": "measure",
    "affinity runs/neurons": "measure",
    "demo --output out": "measure",
    "bench kernels": "measure",
    "bench measure": "measure",
    "bench train": "measure",
    "measure m --text t.txt --launcher ray": "cluster,measure",
    "measure m --text t.txt --launcher slurm": "cluster,measure",
    "measure m --text t.txt --log wandb": "loggers,measure",
}


def run(script, *words, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def hide(monkeypatch, *names):
    monkeypatch.setattr(extras, "is_installed", lambda package: package not in names)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_names_the_extra_it_lacks(words, monkeypatch, capsys, tmp_path):

    hide(monkeypatch, *(package for members in extras.EXTRAS.values() for package in members))
    monkeypatch.chdir(tmp_path)
    code = exit_code(*words.split())
    assert code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Error: sparsity-lab {words.split()[0]}")
    assert said.count("\n") == 1
    assert f"needs sparsity-lab[{COMMANDS[words]}]" in said
    assert "pip install" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_an_environment_without_torch_refuses_and_helps_and_fits(tmp_path):
    hidden = ",".join(package for members in extras.EXTRAS.values() for package in members)
    refused = run(RUN, hidden, "measure", "m", "--text", "t.txt", cwd=tmp_path)
    assert refused.returncode == 2
    assert "torch, transformers, tokenizers and safetensors are not installed" in refused.stderr
    helped = run(RUN, hidden, "measure", "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    table = "".join(f"{x},{3 * x + 1}\n" for x in range(1, 9))
    (tmp_path / "lin.csv").write_text("a,b\n" + table)
    words = "fit lin.csv --x a --y b --law linear --rivals linear --bootstrap 0 --jobs 1 --output out"
    fitted = run(RUN, hidden, *words.split(), cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr


def test_the_python_interface_says_it_as_an_import_error(tmp_path):
    script = (
        WITHOUT
        + "try:\n    from sparsity_lab import measure\nexcept ImportError as error:\n    print(error)\n"
    )
    found = run(script, "torch", cwd=tmp_path)
    assert "sparsity_lab.measure needs sparsity-lab[measure]. torch" in found.stdout
    assert run(WITHOUT + "import sparsity_lab", "torch", cwd=tmp_path).returncode == 0


def test_a_part_that_is_missing_is_named_alone(monkeypatch):
    hide(monkeypatch, "transformers")
    with pytest.raises(MissingPackageError, match=r"\. transformers is not installed"):
        needs.check("measure", {})
    hide(monkeypatch, "lm_eval")
    needs.check("measure", {})
    needs.check("eval", {"tasks": ""})
    with pytest.raises(MissingPackageError, match="lm_eval is not installed"):
        needs.check("eval", {"tasks": "arc_easy"})


def test_a_gguf_file_names_itself_and_the_package(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    from sparsity_lab.measure.checkpoint.source import Source, check_exists

    path = tmp_path / "model.gguf"
    with pytest.raises(SparsityLabError, match="There is no file"):
        check_exists(Source(str(path)))
    path.write_bytes(b"GGUF")
    hide(monkeypatch, "gguf")
    with pytest.raises(MissingPackageError, match=r"model\.gguf needs sparsity-lab\[measure\]\. gguf is not"):
        check_exists(Source(str(path)))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("raise ImportError('libfoo.so.1: cannot open shared object file')", "libfoo.so.1"),
        ("import a_package_of_torch_that_is_gone", "a_package_of_torch_that_is_gone"),
        ("raise OSError('libbar.so: undefined symbol')", "undefined symbol"),
    ],
)
@pytest.mark.long
def test_a_broken_package_shows_what_broke_it(content, cause, tmp_path):
    """A package of torch's name that fails as a broken installation does, before the real one on the path."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(content + "\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\nfrom sparsity_lab.cli.main import main; main()\n"
    )
    found = run(script, str(tmp_path), "bench", "kernels", cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert found.stderr.startswith("Error: The package torch"), found.stderr
    assert cause in found.stderr
    assert found.stderr.count("\n") == 1


def test_an_error_that_is_no_import_passes_as_it_is():
    with pytest.raises(ZeroDivisionError), extras.explained():
        print(1 / 0)  # noqa: T201
    with pytest.raises(ImportError, match="nothing_of_ours") as caught, extras.explained():
        import sparsity_lab.nothing_of_ours  # noqa: F401
    assert not isinstance(caught.value, SparsityLabError)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"url": ROOT.as_uri(), "dir_info": {}}, f"pip install 'sparsity-lab[measure] @ {ROOT.as_uri()}'"),
        ({"url": ROOT.as_uri(), "dir_info": {"editable": True}}, f"pip install --editable '{ROOT}[measure]'"),
        ({"url": "file:///gone/with/the/clone", "dir_info": {}}, "pip install 'sparsity-lab[measure]', or"),
        (
            {"url": "https://host/a.git", "vcs_info": {"vcs": "git", "commit_id": "0f1e"}},
            "pip install 'sparsity-lab[measure] @ git+https://host/a.git@0f1e'",
        ),
        (
            {"url": "file:///w/a.whl", "archive_info": {}},
            "pip install 'sparsity-lab[measure] @ file:///w/a.whl'",
        ),
        ({}, "pip install 'sparsity-lab[measure]', or pip install '.[measure]' in a clone"),
    ],
)
def test_the_command_is_the_one_that_holds_where_the_package_came_from(origin, command, monkeypatch):
    class Installed:
        @staticmethod
        def read_text(name):
            assert name == "direct_url.json"
            return json.dumps(origin)

    monkeypatch.setattr(metadata, "distribution", lambda name: Installed)
    assert extras.install_command("measure").startswith(command)


def test_the_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, members in extras.EXTRAS.items():
        declared = {
            line.split(">")[0].split(";")[0].replace("-", "_")
            for line in project["optional-dependencies"][name]
        }
        declared -= {"numpy", "pandas", "scipy"}  # of the base, in higher versions
        brought = {"huggingface_hub", "tokenizers"} if name == "measure" else set()  # by transformers
        assert set(members) == declared | brought
    assert set(extras.LAUNCHERS) <= set(registry.names("launchers"))


def test_every_command_that_has_needs_is_one():
    from sparsity_lab.cli.main import app

    groups = {group.name: group.typer_instance for group in app.registered_groups}
    names = {info.name for info in app.registered_commands}
    names |= {f"{name}.{info.name}" for name, group in groups.items() for info in group.registered_commands}
    assert set(needs.NEEDED) <= names
    assert names - set(needs.NEEDED) >= {"fit", "check", "report", "ls"}


def test_the_extra_of_the_demo_is_what_the_demo_needs():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(declared["demo"]) < {line.split("  #")[0] for line in declared["measure"]}
    names = {line.split(">")[0] for line in declared["demo"]}
    assert set(needs.NEEDED["demo"]) - {"tokenizers"} <= names  # tokenizers comes with transformers
    assert not names & {"triton", "lm-eval", "datasets", "gguf", "zstandard"}
