"""What hypothesis makes up for the parsers of users' files: values, tables, and documents with a place changed."""

import csv
import io

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError

BRIEF = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
ODD_NUMBERS = [
    "", " ", "1e400", "-0", "1,5", "٣", "²", "0x10", "1_000", "nan", "Infinity", "1.5M", "５", "½", "-1", "0", "1e-320",
    "9" * 400, "1e18", "-1e400", "50%", "True",
]  # fmt: skip
ODD_WORDS = [
    "", " ", ".", "..", "~", "-", "--", "=", "a=", "=b", ",", "a,,b", ":", "last:", "*", "[", "a/../b", "/dev/null",
    "/proc/self/mem", "a\nb", "a\tb", "é", "e\u0301", "日本語", "\u202egpj", "a b", "'", '"', "%s", "{0}", "$HOME",
    "x" * 300, "auto", "all", "none", "null", "True", "model", "0", "s3://", "C:\\a", "con", "\ufeffa", "\x7f",
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 10**12).map(str),
    st.floats().map(str),
    st.sampled_from(ODD_NUMBERS),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=12), NUMBERS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def attempt(read, *arguments, **options):
    """Run a parser; our own error is an answer, any other fails the test."""
    try:
        return read(*arguments, **options)
    except SparsityLabError as error:
        told = error.paragraph()
    assert len(told) < 2000
    assert "\n" not in told
    return None


def written(folder, content, name="file"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def table(columns):
    """CSV of these columns, some missing or twice, in some order, and cells of all kinds, rows not all of a length."""
    headers = st.lists(st.sampled_from(columns), min_size=1, max_size=len(columns) + 1)
    cells = st.one_of(
        NUMBERS, NUMBERS, st.sampled_from(["a", "2024-01-01", "true", "perhaps", '"', "é", "\0"])
    )

    def text(drawn):
        stream = io.StringIO()
        csv.writer(stream).writerows(drawn)
        return stream.getvalue()

    def body(header):
        width = st.integers(max(0, len(header) - 1), len(header) + 1)
        right = st.lists(cells, min_size=len(header), max_size=len(header))
        rows = st.lists(right | width.flatmap(lambda n: st.lists(cells, min_size=n, max_size=n)), max_size=4)
        return rows.map(lambda found: text([header, *found]))

    return headers.flatmap(body)


def changed(document):
    """A document with the value somewhere in it replaced, or its key removed."""

    def paths(value, at=()):
        yield at
        pairs = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in pairs:
            yield from paths(inner, (*at, key))

    def replaced(value, at, new):
        if not at:
            return new
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[at[0]] = replaced(value[at[0]], at[1:], new)
        return copy

    places = [at for at in paths(document) if at]
    return st.builds(lambda at, new: replaced(document, at, new), st.sampled_from(places), VALUES)
