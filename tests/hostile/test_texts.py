"""Texts in other encodings, empty, cut short, or no files at all, under every command that reads one."""

import os

import pytest

from tests.hostile.battery import Case, battery, run_case

PART = "--tokens 512 --window 64"
MEASURE = "measure {trained} --text bad.txt --knob 0.1 " + PART
NEURONS = "neurons {trained} --thresholds {record} --written-tokens 0 " + PART
HEAT = "heat {trained} --thresholds {record} --text bad.txt"
TRANSFER = "measure {trained} --text {text} --transfer other=bad.txt --knob 0.1 " + PART
AGAINST = "bench measure {trained} --against sparsinglaw --window 64 --text bad.txt"
WORDS = "Zürich, naïve façade, coöperation. " * 400


def holding(content):
    """bad.txt with this content."""
    return lambda world: world.write("bad.txt", content)


def a_folder(world):
    (world.folder / "bad.txt").mkdir()


def a_dangling_link(world):
    (world.folder / "bad.txt").symlink_to("nowhere")


def a_ring_of_links(world):
    (world.folder / "bad.txt").symlink_to("bad.txt")


def the_same_twice(world):
    world.write("bad.txt", world.text.read_bytes())


TEXTS = battery(
    Case("not there", MEASURE, "bad.txt", "No such file"),
    Case("a folder without texts", MEASURE, "bad.txt", "no text files", a_folder),
    Case("a link to nowhere", MEASURE, "bad.txt", "No such file", a_dangling_link),
    Case("a ring of links", MEASURE, "bad.txt", "", a_ring_of_links),
    Case("the null device", MEASURE.replace("bad.txt", "/dev/null"), "/dev/null", "is empty"),
    Case("a device without end", MEASURE.replace("bad.txt", "/dev/zero"), "/dev/zero", "not a regular file"),
    Case("empty", MEASURE, "bad.txt", "is empty", holding(b"")),
    Case("only blanks", MEASURE, "bad.txt", "is empty", holding(b" \n\t\r\n \x0c")),
    Case("only a byte order mark", MEASURE, "bad.txt", "is empty", holding(b"\xef\xbb\xbf")),
    Case("Latin-1", MEASURE, "bad.txt", "not UTF-8", holding(WORDS.encode("latin-1"))),
    Case("UTF-16", MEASURE, "bad.txt", "not UTF-8", holding(WORDS.encode("utf-16"))),
    Case("UTF-16 without a mark", MEASURE, "bad.txt", "UTF-16", holding(("plain words " * 900).encode("utf-16-le"))),
    Case("UTF-32", MEASURE, "bad.txt", "not UTF-8", holding(WORDS.encode("utf-32"))),
    Case("zero bytes", MEASURE, "bad.txt", "NUL", holding(b"\0" * 20_000)),
    Case("compressed", MEASURE, "bad.txt", "not UTF-8", holding(b"\x1f\x8b\x08\x00\xab\xcd" * 900)),
    Case("half a letter at the end", MEASURE, "bad.txt", "not UTF-8", holding(WORDS.encode()[:-20] + b"\xc3")),
    Case("lone surrogates", MEASURE, "bad.txt", "not UTF-8", holding(b"\xed\xa0\x80" * 3000)),
    Case("JSON lines without a text", MEASURE.replace("bad.txt", "bad.jsonl"), "bad.jsonl", "--text-column",
         lambda world: world.write("bad.jsonl", '{"body": "a b c"}\n' * 900)),
    Case("JSON lines of a few words", MEASURE.replace("bad.txt", "bad.jsonl"), "bad.jsonl", "--pack",
         lambda world: world.write("bad.jsonl", '{"text": "a b c"}\n' * 900)),
    Case("JSON lines that are none", MEASURE.replace("bad.txt", "bad.jsonl"), "bad.jsonl", "no JSON",
         lambda world: world.write("bad.jsonl", "a b c\n" * 900)),
    Case("neurons: parquet", f"{NEURONS} --text code=bad.txt", "bad.txt", "read_parquet", holding(b"PAR1" * 900)),
    Case("heat: JSON", HEAT.replace("bad.txt", "bad.json"), "bad.json", "['text']",
         lambda world: world.write("bad.json", '{"text": "a b c"}')),
    Case("one short line", MEASURE, "--window", "too short", holding(b"def f(): pass\n")),
    Case("one window", MEASURE, "--window", "too short", holding(b"x = 1\n" * 15)),
    Case("neurons: not there", f"{NEURONS} --text bad.txt", "bad.txt", "No such file"),
    Case("neurons: Latin-1", f"{NEURONS} --text code=bad.txt", "bad.txt", "not UTF-8",
         holding(WORDS.encode("latin-1"))),
    Case("neurons: the second empty", NEURONS + " --text a={text} --text b=bad.txt", "bad.txt", "is empty",
         holding(b"")),
    Case("neurons: one name twice", NEURONS + " --text a={text} --text a=bad.txt", "'a'", "Two texts are called",
         holding(b"x")),
    Case("neurons: no name", NEURONS + " --text =bad.txt", "--text", "NAME=FILE"),
    Case("heat: not there", HEAT, "bad.txt", "No such file"),
    Case("heat: empty", HEAT, "bad.txt", "is empty", holding(b"\n\n")),
    Case("heat: UTF-16", HEAT, "bad.txt", "not UTF-8", holding(WORDS.encode("utf-16"))),
    Case("heat: a line beyond the end", HEAT + " --line 9", "bad.txt", "9", holding(b"one line\n")),
    Case("heat: one token", HEAT, "--tokens", "too few", holding(b"a")),
    Case("transfer: Latin-1", TRANSFER, "bad.txt", "not UTF-8", holding(WORDS.encode("latin-1"))),
    Case("transfer: too short", TRANSFER, "--window", "too short", holding(b"x = 1\n")),
    Case("transfer: one text twice", TRANSFER, "'other'", "are the same", the_same_twice),
    Case("against: not there", AGAINST, "bad.txt", "No such file"),
    Case("against: empty", AGAINST, "bad.txt", "is empty", holding(b"")),
)  # fmt: skip


@pytest.mark.thorough(12)
@TEXTS
def test_texts(case, world, capfd):
    run_case(case, world, capfd)


def test_a_pipe_that_nobody_writes_to(world, capfd):
    """It would wait for ever."""
    os.mkfifo(world.folder / "bad.txt")
    run_case(Case("pipe", MEASURE, "bad.txt", "not a regular file"), world, capfd)


def test_a_text_that_may_not_be_read(world, capfd):
    path = world.write("bad.txt", "x = 1\n" * 900)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("to the superuser nothing is closed")
    run_case(Case("closed", MEASURE, "bad.txt", "Cannot read"), world, capfd)
