"""YAML of ladders, studies and options: broken, of wrong types, or more than it seems."""

from tests.hostile.battery import Case, battery, run_case

TRAIN = "train bad.yaml"
STUDY = "study bad.yaml"
OPTIONS = "measure {trained} --text {text} --config bad.yaml"
MODEL = "model: {hidden_size: 64, layers: 2, head_dim: 16, activation: relu}\n"
TRAINING = "training: {tokens: 4000000}\n"
CORPUS = "data: {corpus: python}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def holding(content):
    """bad.yaml with this content."""
    return lambda world: world.write("bad.yaml", content)


LADDERS = battery(
    Case("not there", TRAIN, "bad.yaml", "no config file"),
    Case("of nobody", "train demmo", "'demmo'", "Did you mean 'demo'"),
    Case("empty", TRAIN, "bad.yaml", "mapping", holding("")),
    Case("a list", TRAIN, "bad.yaml", "mapping", holding("- a\n- b\n")),
    Case("a word", TRAIN, "bad.yaml", "mapping", holding("ladder\n")),
    Case("an open bracket", TRAIN, "bad.yaml", "line", holding("model: {hidden_size: [64\n")),
    Case("a conflict of git", TRAIN, "bad.yaml", "Line 1 begins a conflict of git", holding(
        "<<<<<<< HEAD\n" + MODEL + "=======\n" + MODEL + ">>>>>>> other\n" + TRAINING)),
    Case("a word where a value was", TRAIN, 'in "bad.yaml", line 2', "mapping values", holding("a: b\n c: d\n")),
    Case("tabs", TRAIN, "bad.yaml", "\\t", holding("model:\n\thidden_size: 64\n")),
    Case("UTF-16", TRAIN, "bad.yaml", "UTF-8", holding((MODEL + TRAINING).encode("utf-16"))),
    Case("binary", TRAIN, "bad.yaml", "UTF-8", holding(b"\x00\x01\x02\xff" * 50)),
    Case("a key twice", TRAIN, "'training' is given twice", "lines 2 and 3", holding(MODEL + TRAINING + TRAINING)),
    Case("an inner key twice", TRAIN, "'layers' is given twice", "bad.yaml", holding(
        "model: {layers: 2, layers: 4, hidden_size: 64}\n")),
    Case("code as a tag", TRAIN, "bad.yaml", "python/object", holding(
        "model: !!python/object/apply:os.system ['touch ran']\n")),
    Case("a tag that does not fit", TRAIN, "bad.yaml", "Cannot read", holding("model: !!bool perhaps\n")),
    Case("a day that is none", TRAIN, "bad.yaml", "Cannot read", holding("name: 2024-13-45\n")),
    Case("aliases beyond counting", TRAIN, "bad.yaml", "aliases", holding(BOMB)),
    Case("an alias inside itself", TRAIN, "bad.yaml", "aliases", holding("model: &m [*m]\n")),
    Case("an alias to nothing", TRAIN, "bad.yaml", "alias", holding("model: *nothing\n")),
    Case("50,000 brackets", TRAIN, "bad.yaml", "deeply", holding("model: " + "[" * 50_000)),
    Case("two documents", TRAIN, "bad.yaml", "document", holding(MODEL + "---\n" + TRAINING)),
    Case("an unknown section", TRAIN, "'modle'", "Did you mean 'model'", holding("modle: {}\n" + TRAINING)),
    Case("an unknown key", TRAIN, "'hiden_size'", "Did you mean 'hidden_size'", holding(
        "model: {hiden_size: 64}\n" + TRAINING)),
    Case("a key that is a number", TRAIN, "bad.yaml", "mapping", holding("1: 2\n")),
    Case("a section that is a word", TRAIN, "model", "mapping", holding("model: small\n" + TRAINING)),
    Case("a size that is a word", TRAIN, "model.hidden_size", "whole number", holding(
        MODEL.replace("64", "wide") + TRAINING)),
    Case("a size that is a truth", TRAIN, "model.hidden_size", "whole number", holding(
        MODEL.replace("64", "true") + TRAINING)),
    Case("half a layer", TRAIN, "model.layers", "whole number", holding(MODEL.replace("layers: 2", "layers: 2.5")
                                                                         + TRAINING)),
    Case("negative layers", TRAIN, "bad.yaml", "-2", holding(MODEL.replace("layers: 2", "layers: -2") + TRAINING)),
    Case("infinite tokens", TRAIN, "training.tokens", "whole number", holding(MODEL + "training: {tokens: .inf}\n")),
    Case("no tokens", TRAIN, "bad.yaml", "tokens", holding(MODEL + "training: {tokens: 0}\n")),
    Case("a rate that is NaN", TRAIN, "bad.yaml", "rate", holding(
        MODEL + "training: {tokens: 100000, learning_rate: .nan}\n")),
    Case("heads that do not divide", TRAIN, "bad.yaml", "", holding(MODEL.replace("16", "48") + TRAINING)),
    Case("an activation of nobody", TRAIN, "relo", "bad.yaml", holding(MODEL.replace("relu", "relo") + TRAINING)),
    Case("an empty axis", TRAIN, "hidden_size", "empty list", holding(MODEL.replace("64", "[]") + TRAINING)),
    Case("a million runs", TRAIN, "bad.yaml", "runs", holding(
        f"model: {{hidden_size: [64, 128], layers: {list(range(1, 1001))}, head_dim: 16, activation: relu}}\n"
        f"training: {{tokens: {list(range(4_000_000, 4_001_000))}}}\n")),
    Case("no runs", TRAIN, "runs", "list", holding(MODEL + TRAINING + "runs: []\n")),
    Case("a negative seed", TRAIN, "seed", "-1", holding(MODEL + TRAINING + "seed: -1\n")),
    Case("a name that leaves its folder", "train bad.yaml", "name", "../../evil", holding(
        MODEL + TRAINING + "name: ../../evil\n"), output=False),
    Case("a corpus that is not there", TRAIN, "nowhere.txt", "", holding(
        MODEL + TRAINING + "data: {files: [nowhere.txt]}\n"), planned=True),
    Case("bench: an open bracket", "bench train bad.yaml", "bad.yaml", "line", holding("model: {\n")),
    Case("study: a key twice", STUDY, "'model' is given twice", "bad.yaml", holding(MODEL + MODEL)),
    Case("study: an unknown key", STUDY, "'stabilize'", "Did you mean 'stabilise'", holding(
        MODEL + TRAINING + CORPUS + "measure: {stabilize: 3}\n")),
    Case("study: a criterion of nobody", STUDY, "'cet'", "cett", holding(
        MODEL + TRAINING + CORPUS + "measure: {criterion: cet}\n")),
    Case("study: a rise above all", STUDY, "measure.ppl_increase", "fraction", holding(
        MODEL + TRAINING + CORPUS + "measure: {ppl_increase: 5}\n")),
    Case("study: a text that is not there", STUDY, "nowhere.txt", "", holding(
        MODEL + TRAINING + CORPUS + "measure: {text: nowhere.txt}\n")),
    Case("study: edges out of order", STUDY, "fit.segments", "ascending", holding(
        MODEL + TRAINING + CORPUS + "fit: {segments: [3, 2, 1]}\n")),
)  # fmt: skip

DEFAULTS = battery(
    Case("not there", OPTIONS, "bad.yaml", "No such file"),
    Case("empty", OPTIONS, "bad.yaml", "not a mapping", holding("")),
    Case("a near miss", OPTIONS, "'knobb'", "Did you mean 'knob'", holding("knobb: 0.1\n")),
    Case("a key twice", OPTIONS, "'knob' is given twice", "bad.yaml", holding("knob: 0.1\nknob: 0.2\n")),
    Case("a word for a number", OPTIONS, "'--window'", "", holding("window: wide\n")),
    Case("a list for a number", OPTIONS, "window in bad.yaml is a list", "one value", holding("window: [64, 128]\n")),
    Case("a mapping for a path", OPTIONS, "--thresholds", "", holding("thresholds: {a: b}\n")),
    Case("code as a tag", OPTIONS, "bad.yaml", "python", holding("knob: !!python/name:os.system\n")),
    Case("aliases beyond counting", OPTIONS, "bad.yaml", "aliases", holding(BOMB)),
    Case("neurons: a near miss", "neurons {trained} --thresholds {record} --text {text} --config bad.yaml",
         "'token'", "Did you mean 'tokens'", holding("token: 100\n")),
    Case("fit: a near miss", "fit --config bad.yaml", "'drops'", "Did you mean 'drop'", holding("drops: 2\n")),
    Case("fit: a word for a count", "fit --config bad.yaml", "'--bootstrap'", "", holding("bootstrap: many\n")),
    Case("density: a near miss", "density --config bad.yaml", "'rulers'", "Did you mean 'ruler'", holding(
        "rulers: auto\n")),
    Case("eval: a near miss", "eval {trained} --tasks x --config bad.yaml", "'task'", "Did you mean 'tasks'", holding(
        "task: piqa\n")),
    Case("heat: a near miss", "heat {trained} --thresholds {record} --text {text} --config bad.yaml", "'dtypes'",
         "Did you mean 'dtype'", holding("dtypes: float32\n")),
)  # fmt: skip


@LADDERS
def test_ladders_and_studies(case, world, capfd):
    run_case(case, world, capfd)


@DEFAULTS
def test_options_from_a_file(case, world, capfd):
    run_case(case, world, capfd)
