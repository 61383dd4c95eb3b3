"""Folders are walked through links, never round in circles, and what is left out is told."""

import logging
import os

import pytest

from sparsity_lab.reading.walking import Walk, matching


@pytest.fixture
def tree(tmp_path):
    for place in ("root/a/locks", "root/.hidden", "root/data", "root/b", "elsewhere/in"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "file").touch()
    return tmp_path


def walked(root, **options):
    walk = Walk(root, **options)
    return [path.relative_to(root).as_posix() for path in walk.files()], walk


def left(walk):
    return {entry.path.relative_to(walk.root).as_posix(): entry for entry in walk.left_out}


def test_every_folder_is_walked_whatever_it_is_called(tree):
    files, walk = walked(tree / "root")
    assert files == [".hidden/file", "a/locks/file", "b/file", "data/file"]
    assert walk.left_out == []


def test_links_to_folders_and_files_are_followed(tree):
    (tree / "root" / "linked").symlink_to("../elsewhere")
    (tree / "root" / "b" / "also").symlink_to(tree / "elsewhere" / "in" / "file")
    files, walk = walked(tree / "root")
    assert files[-1] == "linked/in/file"
    assert "b/also" in files
    assert walk.left_out == []


def test_a_folder_linked_from_two_places_is_seen_at_both(tree):
    (tree / "root" / "b" / "locks").symlink_to("../a/locks")
    assert {"a/locks/file", "b/locks/file"} <= set(walked(tree / "root")[0])


@pytest.mark.parametrize("goal", [".", "..", "../a", "../../root/a"])
def test_a_link_back_is_left_out_and_told(tree, goal, caplog):
    (tree / "root" / "a" / "round").symlink_to(goal)
    files, walk = walked(tree / "root")
    assert sorted(files) == [".hidden/file", "a/locks/file", "b/file", "data/file"]
    assert not left(walk)["a/round"].lost
    with caplog.at_level(logging.INFO):
        walk.tell()
    assert "a/round" in caplog.text


def test_two_links_across_do_not_go_on_for_ever(tree):
    (tree / "root" / "a" / "to-b").symlink_to("../b")
    (tree / "root" / "b" / "to-a").symlink_to("../a")
    files, walk = walked(tree / "root")
    assert len(files) < 12
    assert walk.left_out
    assert not any(entry.lost for entry in walk.left_out)


def test_diamonds_of_links_do_not_multiply(tmp_path):
    for i in range(30):
        folder = tmp_path / f"d{i}"
        folder.mkdir()
        (folder / "file").touch()
        for side in ("left", "right"):
            (folder / side).symlink_to(f"../d{i + 1}")
    assert 31 < len(walked(tmp_path)[0]) < 200


def test_links_that_lead_nowhere_are_lost(tree, caplog):
    (tree / "root" / "gone").symlink_to("nowhere")
    (tree / "root" / "itself").symlink_to("itself")
    _, walk = walked(tree / "root")
    assert left(walk)["gone"].lost
    assert left(walk)["itself"].lost
    walk.tell()
    assert "gone" in caplog.text


def test_an_unreadable_folder_is_lost(tree, monkeypatch):
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("locks"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    files, walk = walked(tree / "root")
    assert "a/locks/file" not in files
    assert left(walk)["a/locks"].lost
    assert left(walk)["a/locks"].why == "Permission denied"


def test_what_a_caller_skips_is_told_but_never_the_root(tree):
    files, walk = walked(tree / "root", skip=lambda folder: "as asked" if folder.name != "b" else None)
    assert files == ["b/file"]
    assert {entry.why for entry in walk.left_out} == {"as asked"}


def test_deep_folders_do_not_exhaust_the_stack(tmp_path):
    folder = tmp_path
    for _ in range(1200):
        folder = folder / "d"
    previous = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(previous)
    folders = [folder for folder, _ in Walk(tmp_path)]
    for folder in folders[:0:-1]:  # what clears up after tests does exhaust it
        folder.rmdir()
    assert len(folders) == 1201


@pytest.mark.parametrize("name", ["data [v2].txt", "what?.txt", "all*.txt", "[a].txt"])
def test_a_path_that_is_there_is_tried_before_a_pattern(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "a.txt").touch()
    (tmp_path / "data v.txt").touch()
    assert matching(str(tmp_path / name)) == [tmp_path / name]


def test_a_folder_that_is_there_is_no_pattern_in_a_pattern(tmp_path, monkeypatch):
    folder = tmp_path / "texts [v2]" / "more"
    folder.mkdir(parents=True)
    for name in ("b.txt", "a.txt", "c.md"):
        (folder / name).touch()
    assert [path.name for path in matching(str(folder / "*.txt"))] == ["a.txt", "b.txt"]
    assert matching(str(tmp_path / "texts [v2]" / "**" / "*.md")) == [folder / "c.md"]
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in matching("texts [v2]/*/c.md")] == ["texts [v2]/more/c.md"]
    assert matching("nothing*") == []
