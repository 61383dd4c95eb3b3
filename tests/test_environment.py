"""Environment variables with a number or a folder: what counts, and what is refused by name."""

from pathlib import Path

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.train import ranks
from sparsity_lab.machine.environment import cache_folder, threads_asked, whole_number
from sparsity_lab.machine.workers import side_by_side


def torch_threads():
    import torch

    return torch.get_num_threads()


@pytest.mark.parametrize(
    ("word", "threads"), [("2", 2), (" 2 ", 2), ("2,1", 2), ("3, 2 ,1", 3), ("", None), (" ", None)]
)
def test_threads(monkeypatch, word, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    assert threads_asked() == threads


def test_threads_that_nobody_asked_for(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_asked() is None


@pytest.mark.parametrize("word", ["auto", "0", "-1", "2.5", "1e3", "2,", "2,x", ",", "²", "2 1"])
def test_threads_that_are_no_number(monkeypatch, word):
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    with pytest.raises(SparsityLabError, match="The environment variable OMP_NUM_THREADS is"):
        threads_asked()
    with pytest.raises(SparsityLabError, match="unset OMP_NUM_THREADS"), side_by_side(2):
        pass


@pytest.mark.parametrize(("word", "threads"), [("2,1", 2), ("", None)])
@pytest.mark.long
def test_workers_have_these_threads(monkeypatch, word, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    monkeypatch.setattr("sparsity_lab.machine.workers.available_cores", lambda: 3)
    with side_by_side(1) as workers:
        assert dict(workers.perform([torch_threads])) == {0: threads or 3}


def test_ranks(monkeypatch):
    monkeypatch.setenv("RANK", "")
    monkeypatch.setenv("WORLD_SIZE", " ")
    assert ranks.is_main()
    assert ranks.world_size() is None
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not ranks.is_main()
    assert ranks.world_size() == 2
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(SparsityLabError, match="WORLD_SIZE is 'two'"):
        ranks.world_size()
    assert whole_number("RANK", least=0) == 1


def test_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", "/somewhere")
    for word in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", word)
        assert cache_folder() == Path("/somewhere/.cache")


def test_a_user_without_a_home(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder().is_absolute()
