"""Names as names of files: distinct whatever a disk folds, short, and never one that a disk refuses."""

import itertools
import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store.file_names import MOST_BYTES, file_name, is_portable, refuse_undecodable

ALIKE = [
    ["org/m", "org_m", "org m", "org:m", "org\\m", "org\nm", "org?m"],
    ["a", "A"],
    ["relu-d64-L4", "relu-d64-l4", "Relu-d64-L4", "RELU-D64-L4"],
    ["0.1B-relu", "0.1b-relu"],
    ["café", "cafe\u0301", "cafe", "caf\udce9", "caf_"],
    ["ﬁ", "fi", "FI"],
    ["ß", "ss", "SS"],
    ["x" * 300, "x" * 301, "x" * 299 + "y", "x" * 60],
    ["模型" * 60, "模型" * 61, "模型"],
    ["", ".", "..", "...", "-", "_", " ", "name"],
    ["a", "a.", "a ", " a", ".a", "-a", "a\0"],
    ["CON", "con", "_CON", "con.toml", "NUL", "nul.x", "lpt1"],
]
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def folded(name):
    """As a disk keeps it that folds case and normalises Unicode."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name).casefold())


@pytest.mark.parametrize("names", ALIKE, ids=lambda names: ascii(names[0])[:12])
def test_names_that_look_alike_are_different_files_on_every_disk(names, tmp_path):
    files = [file_name(name) for name in names]
    assert len({folded(file) for file in files}) == len(names), files


@pytest.mark.parametrize("name", sorted(set(itertools.chain(*ALIKE))), ids=lambda name: ascii(name)[:20])
def test_every_disk_takes_the_file(name, tmp_path):
    file = file_name(name)
    assert len(file.encode("utf-8")) <= MOST_BYTES, "strict UTF-8, with room for endings"
    assert file.split(".")[0].lower() not in DEVICES
    assert file[0] not in ".- "
    assert file[-1] not in ". "
    assert not set(file) & set('<>:"/\\|?* \0\n')
    (tmp_path / f"{file}.toml").write_text(name, encoding="utf-8", errors="surrogatepass")
    assert os.listdir(tmp_path) == [f"{file}.toml"]


@given(st.text(alphabet=st.sampled_from("aAbB1é\u0301/_. -\udce9模"), max_size=8),
       st.text(alphabet=st.sampled_from("aAbB1é\u0301/_. -\udce9模"), max_size=8))  # fmt: skip
@settings(max_examples=500)
def test_two_names_are_two_files(first, second):
    assert (folded(file_name(first)) == folded(file_name(second))) == (first == second)


def test_the_name_of_a_file_is_not_the_file_of_another_name():
    for name in itertools.chain(*ALIKE):
        if file_name(name) != name:
            assert file_name(file_name(name)) != file_name(name), name


@pytest.mark.parametrize(
    "name",
    ["run", "relu-d64-L4", "relu-d64-L4-series-0.0822557", "0.1B-relu", "410M", "D0.004M", "F128", "lr0.003-b32",
     "pythia-1.4b", "losses-relu-loss-power", "gelu_pytorch_tanh", "fixed-0.1", "weight_decay0.1"],
)  # fmt: skip
def test_simple_names_are_their_own_files(name):
    assert file_name(name) == name


def test_what_means_something_else_in_a_folder_is_not_taken():
    assert file_name("all") == "all"
    assert file_name("all", taken="all|limits.*") != "all"
    assert file_name("limits-x", taken="all|limits.*") not in ("limits-x", "all")
    assert file_name("ALL", taken="all") != "ALL"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".x", "-x", " x", "x ", "x.", "a/b", "a\\b", "a\0", "a\nb", "nul", "x" * 101, "\udce9"],
)
def test_names_that_the_user_chose_are_refused_where_a_disk_would(name):
    assert not is_portable(name)


@pytest.mark.parametrize("name", ["my study", "Pythia", "étude", "模型", "a.b-c_d", "x" * 100])
def test_other_names_that_the_user_chose_are_taken(name):
    assert is_portable(name)


def test_a_path_that_is_not_utf8_is_refused():
    refuse_undecodable("café")
    with pytest.raises(SparsityLabError):
        refuse_undecodable("caf\udce9")
