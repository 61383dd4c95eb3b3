"""URLs as outputs and inputs, where none is taken."""

from tests.hostile.battery import Case, battery, run_case

MEASURE = "measure {trained} --text {text} --tokens 512 --window 64"
FIXED = MEASURE + " --knob 0.1"
NEURONS = "neurons {trained} --thresholds {record} --text {text}"


def other(world):
    world.write("bad.txt", "value = [1, 2, 3]\n" * 900)


def some(world):
    world.write("some/table.csv", "a,b\n1,2\n")


def holding(line):
    """Makes a c.yaml of one line."""
    return lambda world: world.write("c.yaml", line + "\n")


CONFIG = FIXED + " --config c.yaml"
COPY = "copy it when the command has ended"
OUTPUTS = battery(
    *(Case(f"measure into {url}", f"{FIXED} --output {url}", named, COPY, output=False)
      for url, named in (
          ("foo://bucket/a", "foo://bucket/a is a URL"),
          ("s3://", "s3:"),
          ("S3://", "S3:"),
          ("file:///", "file:"),
          ("memory://runs/a", "memory://runs/a"),
          ("file:///proc/none", "file://"),
          ("zip://taken.zip", "zip://taken.zip"),
          ("s3:bucket/a", "s3:bucket/a"),
          ("FILE:a", "FILE:a"),
          ("simplecache::s3://b/x", "simplecache::s3://b/x"),
      )),
    Case("measure into nothing", FIXED + " --output ''", "--output is empty", "Name a path", output=False),
    Case("measure into blanks", FIXED + " -o ' '", "--output is empty", "Name a path", output=False),
    Case("measure into nothing, joined", FIXED + " --output=", "--output is empty", "Name a path", output=False),
    Case("measure into nothing by a config", CONFIG, "--output is empty", "", holding('output: ""'), output=False),
    Case("measure into a URL by a config", CONFIG, "file://out", COPY, holding("output: file://out"), output=False),
    Case("measure into a joined URL", FIXED + " -ofile://out", "file://out", COPY, output=False),
    Case("a dry run into foo", FIXED + " --dry-run --output foo://b", "foo://b", COPY, output=False),
    Case("a transfer", FIXED + " --transfer b=bad.txt --output s3://b", "s3://b", COPY, other, output=False),
    Case("all criteria", MEASURE + " --criterion all --output memory://b", "memory://b", COPY, output=False),
    *(Case(f"{words.split(' {')[0].split(' --')[0]} into a URL", f"{words} --output S3://bucket/a", "S3://bucket/a",
           COPY, make, output=False)
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
