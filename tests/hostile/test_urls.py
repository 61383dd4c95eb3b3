"""URLs as outputs and inputs: of no scheme, of no package, of no place, of stores that refuse, where none is taken."""

import errno
import sys
from importlib.util import find_spec

import pytest

from tests.hostile.battery import Case, battery, run_case

fsspec = pytest.importorskip("fsspec")
from fsspec.spec import AbstractFileSystem  # noqa: E402 - after fsspec was asked for

MEASURE = "measure {trained} --text {text} --tokens 512 --window 64"
FIXED = MEASURE + " --knob 0.1"
NEURONS = "neurons {trained} --thresholds {record} --text {text}"


class Refusing(AbstractFileSystem):
    """A store whose package is there and whose credentials are not."""

    protocol = "refusing"

    def makedirs(self, path, exist_ok=False):
        """Nobody may."""
        raise PermissionError(errno.EACCES, "Unable to locate credentials\nand a second line", path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where mirrors would lie; what is refused leaves nothing there."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    yield folder
    left = [path for path in folder.rglob("*") if "sparsity-lab" in path.parts and path.is_file()]
    assert not left


def other(world):
    world.write("bad.txt", "value = [1, 2, 3]\n" * 900)


def some(world):
    world.write("some/table.csv", "a,b\n1,2\n")


def holding(line):
    """Makes a c.yaml of one line."""
    return lambda world: world.write("c.yaml", line + "\n")


CONFIG = FIXED + " --config c.yaml"
OUTPUTS = battery(
    *(Case(f"measure into {url or 'nothing'}", f"{FIXED} --output {url}", named, told, output=False)
      for url, named, told in (
          ("foo://bucket/a", "foo://bucket/a", "a URL that fsspec takes"),
          ("s3://", "s3://", "s3://BUCKET/FOLDER"),
          ("S3://", "s3://", "names no place"),
          ("file://", "file:///", "names no place"),
          ("file:///", "file:///", "names no place"),
          ("memory://runs/a", "memory://runs/a", "gone with this process"),
          ("refusing://bucket/a", "refusing://bucket/a", "Unable to locate credentials. Check the URL"),
          ("file:///proc/none", "file:///proc/none", "Check the URL"),
          ("zip://taken.zip", "zip://taken.zip", ""),
          ("s3:bucket/a", "s3:bucket/a is half a URL", "s3://bucket/a, or ./s3:bucket/a"),
          ("FILE:a", "FILE:a is no file URL", "file:///a for /a, or a for"),
          ("file://runs/a", "file://runs/a is no file URL", "file:///runs/a for /runs/a, or runs/a"),
      )),
    Case("measure into nothing", FIXED + " --output ''", "--output is empty", "Name a folder", output=False),
    Case("measure into blanks", FIXED + " -o ' '", "--output is empty", "Name a folder", output=False),
    Case("measure into nothing by a config", CONFIG, "--output is empty", "", holding('output: ""'), output=False),
    Case("measure into a host by a config", CONFIG, "file://out", "file:///out", holding("output: file://out"),
         output=False),
    Case("measure into a joined host", FIXED + " -ofile://out", "file://out", "file:///out", output=False),
    Case("measure into a chain", FIXED + " -o simplecache::s3://b/x", "simplecache::s3://b/x", "chains", output=False),
    Case("measure into a file by its URL", FIXED + " --output file://{text}/a", "sources.txt/a", "Not a directory",
         output=False),
    Case("a dry run into foo", FIXED + " --dry-run --output foo://b", "foo://b", "foo", output=False),
    Case("a transfer", FIXED + " --transfer b=bad.txt --output s3://b", "s3://b", "Write to a folder", other,
         output=False),
    Case("all criteria", MEASURE + " --criterion all --output memory://b", "memory://b", "Write to a folder",
         output=False),
    *(Case(f"{words.split(' {')[0].split(' --')[0]} into a URL", f"{words} --output S3://bucket/a", "s3://bucket/a",
           "Write to a folder", make, output=False)
      for words, make in (
          (NEURONS, None),
          (NEURONS.replace("neurons", "structure"), None),
          (NEURONS.replace("neurons", "predict"), None),
          ("affinity {uses}/neurons", None),
          ("heat {trained} --thresholds {record} --text {text}", None),
          ("eval {trained} --tasks none", None),
          ("train demo", None),
          ("study demo", None),
          ("demo", None),
          ("fit --data sparsing-law --bootstrap 0 --jobs 1", None),
          ("density --no-sensitivity", None),
          ("density needed --score 0.5", None),
          ("density planted --worlds 20", None),
          ("bench measure random:tiny", None),
          ("bench kernels --device cpu", None),
          ("report some", some),
      )),
)  # fmt: skip

INPUTS = battery(
    Case("a text", FIXED.replace("{text}", "https://example.org/a.txt"), "example.org/a.txt", "UTF-8 file"),
    Case("a model", FIXED.replace("{trained}", "s3://bucket/model"), "s3://bucket/model", "ORG/MODEL"),
    Case("a model's folder", FIXED.replace("{trained}", "file://{trained}"), "file://", "Check its path"),
    Case("thresholds", MEASURE + " --thresholds file://{record}", "file:/", "No such file"),
    Case("thresholds of neurons", NEURONS.replace("{record}", "s3://b/r.json"), "b/r.json", "No such file"),
    Case("records of neurons", "affinity s3://b/neurons", "b/neurons", "sparsity-lab neurons"),
    Case("records of predict", "affinity {uses}/neurons --predictors s3://b/x", "b/x", "sparsity-lab predict"),
    Case("trained tokens", FIXED + " --trained-tokens s3://b/t.csv", "b/t.csv", "CSV"),
    Case("an architecture", FIXED + " --architecture-file https://example.org/a.py", "example.org/a.py", "Python"),
    Case("options", FIXED + " --config https://example.org/c.yaml", "example.org/c.yaml", "YAML"),
    Case("a table", "fit https://example.org/t.csv", "example.org/t.csv", "CSV"),
    Case("a ladder", "train https://example.org/l.yaml", "https://example.org/l.yaml", "YAML"),
    Case("a lock", "check s3://b/locks", "b/locks", "Check its path"),
    Case("a folder to report", "report s3://b/x", "b/x", "no folder"),
)  # fmt: skip


@OUTPUTS
def test_outputs(case, using, capfd):
    run_case(case, using, capfd)


@INPUTS
def test_inputs(case, using, capfd):
    run_case(case, using, capfd)


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_store_without_its_package(world, capfd):
    words = FIXED + " --output S3://bucket/a"
    run_case(Case("s3", words, "s3://bucket/a", "Install s3fs", output=False), world, capfd)


def test_urls_without_fsspec(world, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    words = FIXED + " --output s3://bucket/a"
    run_case(Case("none", words, "s3://bucket/a", "sparsity-lab[cluster]", output=False), world, capfd)


def test_a_run_that_fails_leaves_no_folder_behind_its_url(world, capfd):
    words = MEASURE + f" --text none.txt --knob 0.1 --output file://{world.folder}/new/folder"
    run_case(Case("local", words, "none.txt", "UTF-8 file", output=False), world, capfd)
