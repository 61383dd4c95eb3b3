"""What `structure`, `predict` and `affinity` are given: flags, thresholds, records, texts and outputs that are none."""

import json
import os

import pytest

from sparsity_lab.store.records import seal
from tests.hostile.battery import Case, battery, run_case

PART = " --tokens 512 --window 64"
TEXT = " --text {text}" + PART
STRUCTURE = "structure {trained} --thresholds {record}"
PREDICT = "predict {trained} --thresholds {record}"
AFFINITY = "affinity {uses}/neurons"
TIMED = AFFINITY + " --measure --pairs 6 --shape 40x16"
BAD = "affinity bad.json"
PREDICTED = AFFINITY + " --predictors bad.json"


def holding(content, name="bad.txt"):
    """A file with this content."""
    return lambda world: world.write(name, content)


def record(kind="neurons", *, sealed=True, rows="", row=None, without="", **changes):
    """bad.json: a record with other values, or other columns in all rows of one table; its hash made anew."""

    def make(world):
        (path,) = (world.uses / kind).glob("*_records/*.json")
        found = json.loads(path.read_text()) | changes
        if rows:
            found[rows] = [{**one, **(row or {})} for one in found[rows]]
        found.pop(without, None)
        world.write("bad.json", json.dumps(seal(found) if sealed else found))

    return make


def thresholds(**changes):
    """bad.json: the record of `measure` with other values, its hash made anew."""
    return lambda world: world.write(
        "bad.json", json.dumps(seal(json.loads(world.record.read_text()) | changes))
    )


def cut_short(world):
    (path,) = (world.uses / "neurons").glob("*_records/*.json")
    world.write("bad.json", path.read_bytes()[:900])


def with_nan(world):
    (path,) = (world.uses / "neurons").glob("*_records/*.json")
    world.write(
        "bad.json", path.read_text().replace('"activation_ratio": 0', '"x": NaN, "activation_ratio": 0', 1)
    )


FLAGS = battery(
    Case("structure without thresholds", "structure {trained}" + TEXT, "--thresholds"),
    Case("structure one cluster", STRUCTURE + TEXT + " --clusters 1", "--clusters"),
    Case("structure clusters in superscript", STRUCTURE + TEXT + " --clusters ²", "--clusters"),
    Case("structure more clusters than neurons", STRUCTURE + TEXT + " --clusters 30", "30 clusters", "2 to 24"),
    Case("structure clusters beyond the sample", STRUCTURE + TEXT + " --most-neurons 8", "--most-neurons 8",
         "--clusters 4 or less"),
    Case("structure everywhere routed", STRUCTURE + TEXT + " --clusters 4 --routed 5", "routed to 5 of 4",
         "--routed 3"),
    Case("structure routed nowhere", STRUCTURE + TEXT + " --routed 0", "--routed"),
    Case("structure a cache of nothing", STRUCTURE + TEXT + " --cache-ratio 0", "--cache-ratio"),
    Case("structure a cache of no number", STRUCTURE + TEXT + " --cache-ratio nan", "--cache-ratio"),
    Case("structure a cache without end", STRUCTURE + TEXT + " --cache-ratio inf", "--cache-ratio"),
    Case("structure no draws", STRUCTURE + TEXT + " --draws 0", "--draws", "from 19"),
    Case("structure permuted less than never", STRUCTURE + TEXT + " --permutations -1", "--permutations"),
    Case("structure by nobody's basis", STRUCTURE + TEXT + " --by weights", "'weights'", "input-weights"),
    Case("structure a negative seed", STRUCTURE + TEXT + " --seed -1", "--seed"),
    Case("predict at rank 0", PREDICT + TEXT + " --rank 0", "--rank is 0"),
    Case("predict at a rank beyond d", PREDICT + TEXT + " --rank 33", "--rank 33", "--rank 32 or less"),
    Case("predict at one rank twice", PREDICT + TEXT + " --rank 4 --rank 4", "--rank"),
    Case("predict for nothing", PREDICT + TEXT + " --budget 0", "--budget is 0"),
    Case("predict without end", PREDICT + TEXT + " --budget inf", "--budget is inf"),
    Case("predict more neurons than there are", PREDICT + TEXT + " --budget 1e9", "--budget 1e+09", "48 neurons"),
    Case("predict untrained", PREDICT + TEXT + " --epochs 0", "--epochs is 0"),
    Case("predict a negative seed", PREDICT + TEXT + " --seed -1", "--seed"),
    Case("predict a seed of 2^70", PREDICT + TEXT + f" --seed {2**70}", "--seed", "4,294,967,295"),
    Case("affinity without records", "affinity", "found"),
    Case("affinity weights of no bytes", AFFINITY + " --bytes-per-weight 0", "--bytes-per-weight"),
    Case("affinity weights of NaN bytes", AFFINITY + " --bytes-per-weight nan", "--bytes-per-weight"),
    Case("affinity weights of next to nothing", AFFINITY + " --bytes-per-weight 1e-320", "--bytes-per-weight"),
    Case("affinity a context below nothing", AFFINITY + " --context -1", "--context"),
    Case("affinity a context beyond floats", AFFINITY + f" --context {10**400}", "--context"),
    Case("affinity a predictor below nothing", AFFINITY + " --predictor-cost -1", "--predictor-cost"),
    Case("affinity no pairs", AFFINITY + " --measure --pairs 0", "--pairs is 0", "from 6"),
    Case("affinity pairs without timing", AFFINITY + " --pairs 6", "--pairs", "--measure"),
    Case("affinity a text without timing", AFFINITY + " --text source={text}", "--text", "--measure"),
    *(Case(f"affinity a shape {words[:9]}", f"{AFFINITY} --measure --shape {words}", "--shape", "FxD")
      for words in ("x", "0x5", "5x", "1e9x1e9", "²x3", "9" * 5000 + "x1")),
    Case("affinity a shape of 10^16 weights", AFFINITY + " --measure --shape 100000000x100000000", "--shape", "1e+16"),
    *(Case(f"affinity a ratio of {words}", f"{TIMED} --ratio {words}", "--ratio") for words in ("0", "1.5", "nan")),
    Case("affinity a seed of 2^70", TIMED + f" --seed {2**70}", "--seed", "4,294,967,295"),
    Case("affinity on an abacus", TIMED + " --device abacus", "abacus"),
    Case("structure a config of unknown keys", STRUCTURE + TEXT + " --config bad.txt", "'clusterz'",
         "Did you mean 'clusters'", holding("clusterz: 4\n")),
    Case("structure a config of half clusters", STRUCTURE + TEXT + " --config bad.txt", "--clusters", "",
         holding("clusters: 4.5\n")),
    Case("predict a config of a mapping", PREDICT + TEXT + " --config bad.txt", "--rank", "",
         holding("ranks: {a: 1}\n")),
    Case("affinity a config of no truth", AFFINITY + " --config bad.txt", "--measure", "",
         holding("measure: yes please\n")),
)  # fmt: skip

GIVEN = battery(
    *(Case(f"{command.split()[0]}: {name}", command + words, named, told, make)
      for command in (STRUCTURE.replace("{record}", "bad.json") + TEXT, PREDICT.replace("{record}", "bad.json") + TEXT)
      for name, words, named, told, make in (
          ("no thresholds", "", "bad.json", "No such file", None),
          ("thresholds of predictors", "", "bad.json", "has no 'layers'", record("predict")),
          ("thresholds of another family", "", "bad.json", "architecture = llama", thresholds(architecture="gpt2")),
          ("thresholds of another depth", "", "bad.json", "of another model", thresholds(thresholds=[0.1], layers=1)),
      )),
    *(Case(f"{command.split()[0]}: a text {name}", f"{command}{PART} --text {words}", named, told, make)
      for command in (STRUCTURE + " --clusters 4 --routed 1", PREDICT)
      for name, words, named, told, make in (
          ("not there", "bad.txt", "bad.txt", "No such file", None),
          ("that is empty", "bad.txt", "bad.txt", "is empty", holding("")),
          ("that is binary", "a=bad.txt", "bad.txt", "not UTF-8", holding(b"\x1f\x8b\xff" * 900)),
          ("too short to be halved", "a={text} --tokens 128 --sample head", "'a' of 2 windows", "3 windows of 64",
           None),
          ("of no file", "NAME=", "--text NAME=", "NAME=FILE", None),
          ("called like another", "a={text} --text a=bad.txt", "'a'", "Two texts are called", holding("x")),
          ("the same as another", "a={text} --text b={text}", "'a' and 'b'", "are the same", None),
      )),
    Case("affinity: not there", BAD, "bad.json", "No such file"),
    Case("affinity: empty", BAD, "bad.json", "", holding("", "bad.json")),
    Case("affinity: a list", BAD, "bad.json", "not a record", holding("[1]", "bad.json")),
    Case("affinity: cut short", BAD, "bad.json", "", cut_short),
    Case("affinity: NaN", BAD, "bad.json", "JSON", with_nan),
    Case("affinity: changed by hand", BAD, "bad.json", "hash", record(sealed=False, activation_ratio=0.9)),
    Case("affinity: a record of measure", "affinity {record}", "not a record of `sparsity-lab neurons`", "its output"),
    Case("affinity: a record of predict", BAD, "bad.json", "`sparsity-lab neurons`", record("predict")),
    Case("affinity: a folder of others", "affinity {uses}/predict", "There is no record", "--output"),
    Case("affinity: of a version that knew less", BAD, "bad.json", "has no 'window'", record(without="window")),
    Case("affinity: a model that is gone", BAD, "/gone", "--model", record(model="/gone/away")),
    Case("affinity: a model that is a number", BAD, "'model'", "`sparsity-lab neurons` again", record(model=5)),
    Case("affinity: a key that is a list", BAD, "bad.json is not a record", "neurons", record(content_key=[1])),
    Case("affinity: no parameters", BAD, "'parameter_rows'", "bad.json", record(parameter_rows=[])),
    Case("affinity: a share above all", BAD, "'parameter_rows'", "bad.json", record(
        rows="parameter_rows", row={"ffn_share": 30.0})),
    Case("affinity: an error below nothing", BAD, "'layer_rows'", "bad.json", record(
        rows="layer_rows", row={"reuse_se": -1})),
    Case("affinity: chunks of words", BAD, "'chunk_rows'", "bad.json", record(rows="chunk_rows", row={"tokens": "x"})),
    Case("affinity: of another model", BAD, "The record is of another model", "--model", record(
        rows="parameter_rows", row={"model_dense": 5})),
    Case("affinity: a model for nobody", AFFINITY + " --model {trained} --model /gone", "--model /gone"),
    Case("affinity: predictors of neurons", AFFINITY + " --predictors {uses}/neurons", "`sparsity-lab predict`"),
    Case("affinity: predictors without rows", PREDICTED, "'predictor_rows'", "", record("predict", predictor_rows=[])),
    Case("affinity: predictors of another text", PREDICTED, "`predict`", "same --thresholds", record(
        "predict", text_sha256="00")),
    Case("affinity: a text of nobody", TIMED + " --text nobody={text}", "--text nobody", "source"),
    Case("affinity: another text", TIMED + " --text source=bad.txt", "bad.txt", "not the text", holding(
        "\n".join(f"value_{i} = [{i % 7}]" for i in range(900)))),
    *(Case(f"{command.split()[0]} into a file", command + " --output taken", "taken", "", holding("mine", "taken"),
           output=False) for command in (STRUCTURE + TEXT, PREDICT + TEXT, AFFINITY)),
    *(Case(f"{command.split()[0]} below a file", command + " --output taken/below", "taken/below", "--output",
           holding("mine", "taken"), output=False) for command in (STRUCTURE + TEXT, PREDICT + TEXT, AFFINITY)),
)  # fmt: skip


@FLAGS
def test_flags(case, using, capfd):
    run_case(case, using, capfd)


@pytest.mark.thorough(20)
@GIVEN
def test_what_is_given(case, using, capfd):
    run_case(case, using, capfd)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
@pytest.mark.parametrize("words", [STRUCTURE + TEXT, PREDICT + TEXT, AFFINITY])
def test_an_output_that_may_not_be_written(words, using, capfd):
    (using.folder / "closed").mkdir(mode=0o500)
    run_case(Case("closed", f"{words} --output closed", "closed", "--output", output=False), using, capfd)
