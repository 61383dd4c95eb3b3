"""Names that are not UTF-8, and outputs that would be written over what is read."""

import os

import pytest

from sparsity_lab.cli.main import main

COMMANDS = ["fit {}", "measure {} --text t.txt", "measure m --text {}", "check {}", "report {}", "train {}", "study {}",
            "report . --output {}", "heat {} --text t.txt", "fit t.csv --lock {}"]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_a_name_that_is_not_utf8_is_refused_in_one_paragraph(words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / name).write_text("series,tokens,activation_ratio\na,1e9,0.3\n", encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main([word.format(name) for word in words.split()])
    told = capfd.readouterr().err
    assert end.value.code == 2
    assert told.startswith("Error: ")
    assert told.count("\n") == 1
    assert "caf" in told
    assert os.listdir(tmp_path) == [name]


@pytest.mark.long
def test_a_folder_that_is_not_utf8_is_searched_for_locks_and_reported(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{2.0**i},{0.2 + 0.1 / 2**i + 1e-4 * (-1) ** (i // 2)}\n" for i in range(8))
    (tmp_path / "t.csv").write_text("x,y\n" + rows, encoding="utf-8")
    fit = "fit t.csv --x x --y y --law power --rivals linear --bootstrap 0 --jobs 1 --output out/a --lock why"
    with pytest.raises(SystemExit) as end:
        main(fit.split())
    assert not end.value.code
    (tmp_path / "out" / "a").rename(tmp_path / "out" / os.fsdecode(b"caf\xe9"))
    for command in ("check out", "check out --format json", "check out --output checked", "report out"):
        with pytest.raises(SystemExit) as end:
            main(command.split())
        assert not end.value.code, capfd.readouterr().err
    assert "caf\\udce9" in (tmp_path / "checked" / "check.csv").read_text(encoding="utf-8")


def test_a_model_s_config_is_not_replaced(trained, source_text, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    os.symlink(trained, tmp_path / "m")
    before = (trained / "config.json").read_bytes()
    with pytest.raises(SystemExit) as end:
        main(
            [
                "measure",
                "m",
                "--text",
                str(source_text),
                "--tokens",
                "256",
                "--window",
                "32",
                "--knob",
                "0.1",
                "-o",
                "m",
            ]
        )
    assert end.value.code == 2
    assert "config.json" in capfd.readouterr().err
    assert (trained / "config.json").read_bytes() == before
    assert not (trained / "records").exists()
