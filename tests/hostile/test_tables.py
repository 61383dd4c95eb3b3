"""CSV that is no CSV, lacks columns, or holds what is no number, under every command that reads a table."""

from tests.hostile.battery import Case, battery, run_case

HEAD = "series,tokens,activation_ratio\n"
POINTS = "".join(f"run,{n}000000,0.{30 - n}\n" for n in range(1, 9))
GOOD = HEAD + POINTS
FIT = "fit bad.csv --bootstrap 0 --jobs 1"
SEVERAL = "fit bad.csv --x params,tokens --y loss --law loss-power --bootstrap 0"
TARGETS = "density --targets bad.csv --no-sensitivity"
TRAINED = "measure {trained} --text {text} --tokens 512 --window 64 --knob 0.1 --trained-tokens bad.csv"
COST = "density cost bad.csv --score 0.5"
PREDICT = "density predict --ladder bad.csv"
RULER = "density ruler bad.csv --name mine"
PAIRS = "density pairs --pairs bad.csv"


def table(content):
    """bad.csv with this content."""
    return lambda world: world.write("bad.csv", content)


def a_folder(world):
    (world.folder / "bad.csv").mkdir()


def with_cell(text, *, row=3):
    """Good points, but for one activation ratio."""
    lines = GOOD.splitlines()
    series, tokens, _ = lines[row - 1].split(",")
    lines[row - 1] = f"{series},{tokens},{text}"
    return table("\n".join(lines) + "\n")


POINTS_CASES = battery(
    Case("not there", FIT, "bad.csv", "No such file"),
    Case("a folder", FIT, "bad.csv", "is a folder", a_folder),
    Case("the folder that measure wrote", "fit measured", "measured is a folder", "Name measured/table.csv",
         lambda world: world.write("measured/table.csv", GOOD)),
    Case("empty", FIT, "bad.csv", "empty", table(b"")),
    *(Case(f"{flag} {law}", f"{FIT} {flag} {law}", law, "--x A,B", table(GOOD))
      for flag in ("--law", "--rivals") for law in ("loss-power", "average-parameters")),
    Case("a header alone", FIT, "bad.csv", "no rows", table(HEAD)),
    Case("no header", FIT, "bad.csv", "has no column", table(POINTS)),
    Case("UTF-16 without a mark", FIT, "bad.csv", "NUL bytes", table(GOOD.encode("utf-16-le"))),
    Case("Latin-1", FIT, "bad.csv", "", table(GOOD.replace("run", "Zürich").encode("latin-1"))),
    Case("a spreadsheet", FIT, "bad.csv", "", table(b"PK\x03\x04\x14\x00\x06\x00\xd0\xcf\x11\xe0")),
    Case("two separators", FIT, "bad.csv", "not certain", table(GOOD.replace(",", ";", 1).replace("run,", "run;"))),
    Case("blanks", FIT, "bad.csv", "separated by blanks", table(GOOD.replace(",", " "))),
    Case("a comma that may be either", FIT, "row 2, column 'tokens'", "1000 or as 1.000", table(
        GOOD.replace("000000", "|000").replace(",", ";").replace("|", ","))),
    Case("a percent sign", FIT, "row 3, column 'activation_ratio'", "activation_ratio=percent", with_cell("28 %")),
    Case("a unit in a cell", FIT, "row 2, column 'tokens'", "tokens (1e9)", table(GOOD.replace("1000000,", "1B,"))),
    Case("decimal commas", FIT, "bad.csv", "row 2", table(GOOD.replace("0.", "0,"))),
    Case("a column twice", FIT, "bad.csv", "'tokens' twice", table(
        "series,tokens,tokens,activation_ratio\nrun,1,2,0.3\n")),
    Case("no column of tokens", FIT, "bad.csv", "'trained_tokens'", table("series,activation_ratio\nrun,0.3\n")),
    Case("no column of ratios", FIT, "bad.csv", "'activation_ratio'", table("series,tokens\nrun,3\n")),
    Case("a short row", FIT, "bad.csv", "row 4", table(GOOD.replace("run,3000000,0.27", "run,3000000"))),
    Case("a long row", FIT, "bad.csv", "row 4", table(GOOD.replace("run,3000000,0.27", "run,3,000,000,0.27"))),
    Case("an open quote", FIT, "bad.csv", "row", table(GOOD.replace("run,3000000", '"run,3000000'))),
    Case("a word", FIT, "row 3, column 'activation_ratio'", "not a number", with_cell("high")),
    Case("nothing", FIT, "row 3, column 'activation_ratio'", "not a number", with_cell("")),
    Case("NaN", FIT, "row 3, column 'activation_ratio'", "not finite", with_cell("nan")),
    Case("infinity", FIT, "row 3, column 'activation_ratio'", "not finite", with_cell("inf")),
    Case("beyond floats", FIT, "row 3, column 'activation_ratio'", "not finite", with_cell("1e999")),
    Case("percent", FIT, "row 3, column 'activation_ratio'", "between 0 and 1", with_cell("28")),
    Case("a ratio below nothing", FIT, "row 3, column 'activation_ratio'", "between 0 and 1", with_cell("-0.2")),
    Case("a cell of 200,000 letters", FIT, "bad.csv", "", with_cell("9" * 200_000)),
    Case("negative tokens", FIT, "row 2, column 'tokens'", "negative", table(GOOD.replace("run,1000000", "run,-1"))),
    Case("tokens twice", FIT, "lines 2 and 3", "twice", table(GOOD.replace("run,2000000", "run,1000000"))),
    Case("two points", FIT, "2 points", "", table(HEAD + "run,1e9,0.3\nrun,2e9,0.2\n")),
    Case("an error below nothing", FIT + " --se error", "column 'error'", "negative", table(
        "series,tokens,activation_ratio,error\nrun,1,0.3,-1\n")),
    Case("columns of nobody", FIT + " --x step", "'step'", "has no column", table(GOOD)),
    Case("columns of bytes", FIT + " --group 'a\tb'", "bad.csv", "has no column", table(GOOD)),
    Case("dropping all", FIT + " --drop 8", "points", "drop fewer", table(GOOD)),
    Case("dropping of a series that is not there", FIT + " --drop other=1", "other", "", table(GOOD)),
    Case("several: not there", SEVERAL, "bad.csv", "No such file"),
    Case("several: no column", SEVERAL, "'params'", "bad.csv", table("tokens,loss\n1,2\n")),
    Case("several: nothing learned", SEVERAL, "column 'loss'", "row 2", table("params,tokens,loss\n1e6,2e6,nan\n")),
    Case("several: a column twice", SEVERAL, "'loss' twice", "bad.csv", table("params,tokens,loss,loss\n1,2,3,4\n")),
    Case("several: a short row", SEVERAL, "row 3", "bad.csv", table("params,tokens,loss\n1,2,3\n4,5\n")),
    Case("several: too few", SEVERAL, "loss-power", "needs 7", table("params,tokens,loss\n1e6,2e6,3\n4e6,5e6,2\n")),
)  # fmt: skip

MODELS = "model,params_b,MMLU\n"
DENSITY_CASES = battery(
    Case("targets: not there", TARGETS, "bad.csv"),
    Case("targets: empty", TARGETS, "bad.csv", "empty", table(b"")),
    Case("targets: no rows", TARGETS, "bad.csv", "no rows", table(MODELS)),
    Case("targets: UTF-16", TARGETS, "bad.csv", "NUL", table((MODELS + "a-7B,7,50\n").encode("utf-16-be"))),
    Case("targets: bars", TARGETS, "bad.csv", "separated by bars", table("model|params_b|MMLU\na|7|50\n")),
    Case("targets: no size", TARGETS, "bad.csv", "params_b", table("model,MMLU\na,50\n")),
    Case("targets: no scores", TARGETS, "bad.csv", "one column a task", table("model,params_b\na,7\n")),
    Case("targets: a column twice", TARGETS, "'MMLU' twice", "", table("model,params_b,MMLU,MMLU\na,7,50,60\n")),
    Case("targets: a model twice", TARGETS, "'a' twice", "row 2 and row 3", table(MODELS + "a,7,50\na,7,50\n")),
    Case("targets: no name", TARGETS, "row 2, column model", "empty", table(MODELS + ",7,50\n")),
    Case("targets: a count for 1e9", TARGETS, "row 2, column params_b", "1e+09", table(MODELS + "a,7e9,50\n")),
    Case("targets: a negative size", TARGETS, "row 2, column params_b", "", table(MODELS + "a,-7,50\n")),
    Case("targets: NaN", TARGETS, "row 2, column MMLU", "", table(MODELS + "a,7,nan\n")),
    Case("targets: a word", TARGETS, "row 2, column MMLU", "not a number", table(MODELS + "a,7,good\n")),
    Case("targets: above all", TARGETS, "row 2, column MMLU", "", table(MODELS + "a,7,101\n")),
    Case("targets: a short row", TARGETS, "row 3", "bad.csv", table(MODELS + "a,7,50\nb,7\n")),
    Case("targets: no day", TARGETS, "column release_date", "2024-09-19", table(
        "model,params_b,MMLU,release_date\na,7,50,last May\n")),
    Case("targets: neither true nor false", TARGETS, "column moe", "neither", table(
        "model,params_b,MMLU,moe\na,7,50,perhaps\n")),
    Case("targets: unknown tasks", TARGETS, "nonsense", "Name a ruler", table("model,params_b,nonsense\na,7,50\n")),
    Case("cost: not there", COST, "bad.csv", "No such file"),
    Case("cost: free", COST, "row 2, column price", "", table("model,release_date,price,score\na,2023-01-01,0,0.7\n")),
    Case("cost: no day", COST, "column release_date", "", table("model,release_date,price,score\na,,1,0.7\n")),
    Case("cost: one model", COST, "needs 3", "", table("model,release_date,price,score\na,2023-01-01,1,0.7\n")),
    Case("predict: not there", PREDICT, "bad.csv"),
    Case("predict: no columns", PREDICT, "bad.csv", "no column", table("a,b\n1,2\n")),
    Case("predict: no tasks", PREDICT, "bad.csv", "TASK_bpb", table("run,params,tokens\na,1e9,1e9\n")),
    Case("predict: two sizes of one run", PREDICT, "column params", "", table(
        "run,params,tokens,x_bpb,x_acc\na,1e9,1e9,1,0.5\na,2e9,2e9,1,0.5\n")),
    Case("predict: a score above 1", PREDICT, "column x_acc", "", table(
        "run,params,tokens,x_bpb,x_acc\na,1e9,1e9,1,55\n")),
    Case("ruler: not there", RULER, "bad.csv"),
    Case("ruler: one size", RULER, "family a", "sizes", table(MODELS + "a-7B,7,50\n")),
    Case("ruler: no losses", RULER + " --form two-step", "bad.csv", "losses", table(MODELS + "a-7B,7,50\n")),
    Case("trained tokens: not there", TRAINED, "bad.csv", "No such file"),
    Case("trained tokens: empty", TRAINED, "bad.csv", "empty", table(b"")),
    Case("trained tokens: no rows", TRAINED, "bad.csv", "no rows", table("checkpoint,trained_tokens\n")),
    Case("trained tokens: bars", TRAINED, "bad.csv", "separated by bars", table("checkpoint|trained_tokens\na|1\n")),
    Case("trained tokens: with commas", TRAINED, "row 2", "bad.csv", table("checkpoint,trained_tokens\na,1,000\n")),
    Case("trained tokens: half a token", TRAINED, "Row 2", "bad.csv", table("checkpoint,trained_tokens\na,0.5\n")),
    Case("trained tokens: negative", TRAINED, "Row 2", "bad.csv", table("checkpoint,trained_tokens\na,-5\n")),
    Case("trained tokens: infinite", TRAINED, "Row 2", "bad.csv", table("checkpoint,trained_tokens\na,inf\n")),
    Case("trained tokens: 1e999999", TRAINED, "Row 2", "bad.csv", table(
        "checkpoint,trained_tokens\na,1e999999\n")),
    Case("trained tokens: twice", TRAINED, "Row 3", "bad.csv", table("checkpoint,trained_tokens\na,1\na,2\n")),
    Case("trained tokens: a column twice", TRAINED, "'trained_tokens' twice", "bad.csv", table(
        "checkpoint,trained_tokens,trained_tokens\ntiny,1,2\n")),
    Case("trained tokens: strangers", TRAINED, "bad.csv", "No row", table("checkpoint,trained_tokens\nother,1e9\n")),
)  # fmt: skip


@POINTS_CASES
def test_tables_of_points(case, world, capfd):
    run_case(case, world, capfd)


@DENSITY_CASES
def test_other_tables(case, world, capfd):
    run_case(case, world, capfd)
