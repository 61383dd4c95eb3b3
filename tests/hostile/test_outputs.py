"""Outputs that are files or cannot be written, and folders with nothing to report, under every command that writes."""

import os

import pytest

from tests.hostile.battery import Case, battery, run_case

MEASURE = "measure {trained} --text {text} --tokens 512 --window 64 --knob 0.1"


def a_file(world):
    world.write("taken", "mine")


def a_link_to_nowhere(world):
    (world.folder / "taken").symlink_to("nowhere/at/all")


def points(world):
    a_file(world)
    world.write(
        "points.csv",
        "series,tokens,activation_ratio\n" + "".join(f"a,{n}000000,0.{n}\n" for n in range(1, 9)),
    )


def prices(world):
    a_file(world)
    world.write("prices.csv", "model,release_date,price,score\n" + "".join(
        f"m{n},2023-0{n}-01,{9 - n},0.7\n" for n in range(1, 9)))  # fmt: skip


def something(world):
    a_file(world)
    world.write("some/table.csv", "a,b\n1,2\n")


def nothing(world):
    (world.folder / "none").mkdir()


OUTPUTS = battery(
    *(
        Case(f"{words.split()[0]} into {given or 'nothing'}", f"{words} {given}", "--output is empty", output=False)
        for words, given in (
            (MEASURE, "--output ''"), (MEASURE, "-o ''"), (MEASURE, "--output="), ("ls laws", "--output ''"),
            ("fit points.csv", "--output ''"), ("train demo", "--output="),
        )
    ),
    *(
        Case(f"{words.split(' {')[0].split(' --')[0]} into a file", f"{words} --output taken", "taken", "", make,
             output=False)
        for words, make in (
            (MEASURE, a_file),
            ("neurons {trained} --thresholds {record} --text {text} --tokens 512 --window 64 --written-tokens 0",
             a_file),
            ("heat {trained} --thresholds {record} --text {text}", a_file),
            ("eval {trained} --tasks none", a_file),
            ("train demo", a_file),
            ("study demo", a_file),
            ("demo", a_file),
            ("fit points.csv --bootstrap 0 --jobs 1", points),
            ("density --no-sensitivity", a_file),
            ("density needed --score 0.5", a_file),
            ("density pairs", a_file),
            ("density cost prices.csv --score 0.5", prices),
            ("density predict", a_file),
            ("density planted --worlds 20", a_file),
            ("density ruler obsscaling-models --family Qwen1.5 --tasks MMLU --name mine", a_file),
            ("bench measure random:tiny", a_file),
            ("bench kernels --device cpu", a_file),
            ("bench train demo", a_file),
        )
    ),
    Case("measure below a file", f"{MEASURE} --output taken/below", "taken/below", "--output", a_file, output=False),
    Case("measure into a link to nowhere", f"{MEASURE} --output taken", "taken", "--output", a_link_to_nowhere,
         output=False),
    Case("measure into the system's own", f"{MEASURE} --output /proc/none", "/proc/none", "--output", output=False),
    Case("transfer into a file", MEASURE + " --transfer b={record} --output taken", "taken", "", a_file, output=False),
    Case("report into a file below", "report some --output taken/page.html", "taken", "--output", something,
         output=False),
    Case("report of nowhere", "report nowhere", "nowhere", "no folder"),
    Case("report of a file", "report taken", "taken", "is a file", a_file),
    Case("report of nothing", "report none", "none", "nothing to report", nothing),
    Case("report by another ending", "report some --output page.tex", "--output page.tex", ".html", something,
         output=False),
    Case("check of nowhere", "check nowhere", "nowhere", "no lock"),
    Case("a name of 300 letters", f"{MEASURE} --output {'o' * 300}", "ooo", "--output", output=False),
)  # fmt: skip


@OUTPUTS
def test_outputs(case, world, capfd):
    run_case(case, world, capfd)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_an_output_that_may_not_be_written(world, capfd):
    (world.folder / "closed").mkdir(mode=0o500)
    run_case(Case("closed", f"{MEASURE} --output closed", "closed", "--output", output=False), world, capfd)
