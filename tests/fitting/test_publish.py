"""A study published anew: what an earlier publication left goes, and what is no part of one stays."""

from sparsity_lab.fitting.study.publish import publish


def study(folder, *locks):
    """A finished study's folder, as far as a publication looks at it."""
    for lock in locks:
        path = folder / "fit" / "rules" / "locks" / f"{lock}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lock, encoding="utf-8")
    (folder / "study.json").write_text("{}", encoding="utf-8")
    (folder / "report.md").write_text("# Study", encoding="utf-8")
    return folder


def test_locks_of_an_earlier_publication_go_and_other_files_stay(tmp_path):
    place = tmp_path / "results"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    assert publish(study(tmp_path / "first", "run-0.1", "run-0.2"), place) == 4
    (place / "notes.txt").write_text("mine", encoding="utf-8")
    assert publish(study(tmp_path / "second", "run-0.2", "run-0.3"), place) == 4
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == [
        "README.md", "notes.txt", "run-0.2.toml", "run-0.3.toml", "study.json",
    ]  # fmt: skip


def test_a_folder_that_was_no_publication_loses_nothing(tmp_path):
    (tmp_path / "first").mkdir()
    place = tmp_path / "results"
    (place / "plots").mkdir(parents=True)
    (place / "plots" / "mine.png").write_bytes(b"mine")
    publish(study(tmp_path / "first", "run-0.1"), place)
    assert (place / "plots" / "mine.png").exists()
