"""The files around the package: versions agree, the public CI uses targets that are there, hooks name tools of ours."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import sparsity_lab

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read_yaml(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_versions_agree():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changes, re.M)[1]
    cited = read_yaml(ROOT / "CITATION.cff")["version"]
    assert {newest, cited, PROJECT["version"]} == {sparsity_lab.__version__}


def test_the_citation_has_what_its_format_asks_for():
    cited = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["license"] == PROJECT["license"]


def calls():
    """Words of each call of make, with every value of the job's matrix put in."""
    for path in WORKFLOWS:
        for name, job in read_yaml(path)["jobs"].items():
            matrix = job.get("strategy", {}).get("matrix", {})
            for step in job["steps"]:
                for line in re.findall(r"^make .*$", step.get("run", ""), re.M):
                    keys = re.findall(r"\$\{\{ matrix\.(\w+) \}\}", line)
                    for value in matrix[keys[0]] if keys else [None]:
                        yield name, re.sub(r"\$\{\{[^}]*\}\}", str(value), line).split()


def test_there_is_a_workflow():
    assert {name for name, _ in calls()} >= {"test", "light", "newest", "lowest"}


@pytest.mark.parametrize(("job", "words"), list(calls()))
def test_make_has_what_the_workflow_calls(job, words, tmp_path):
    done = subprocess.run(
        [*words, "--dry-run", f"VENV={tmp_path}"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_an_absent_target_would_be_seen():
    done = subprocess.run(["make", "tset", "--dry-run"], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode != 0


def test_the_workflow_has_every_python_from_the_lowest():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    for name in ("light", "newest"):
        versions = read_yaml(WORKFLOWS[0])["jobs"][name]["strategy"]["matrix"]["python"]
        assert versions == [f"3.{minor}" for minor in range(int(lowest.split(".")[1]), 14)]


def test_hooks_are_tools_of_the_environment():
    hooks = [hook for repo in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    extra = {re.split(r"[<>=;]", line)[0] for line in PROJECT["optional-dependencies"]["dev"]}
    for hook in hooks:
        tool = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert tool.startswith(".venv/bin/")
        assert Path(tool).name in extra


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.name
)
def test_issue_forms_ask_for_something(path):
    form = read_yaml(path)
    if path.name != "config.yml":
        assert {"name", "description", "body"} <= set(form)
        assert any(part["type"] in ("input", "textarea") for part in form["body"])


def test_the_site_is_an_extra():
    names = {re.split(r"[<>=;]", line)[0] for line in PROJECT["optional-dependencies"]["docs"]}
    assert {"sphinx", "myst-parser"} <= names
