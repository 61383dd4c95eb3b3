"""The notebooks of `examples/` run, and show the numbers that they were committed with."""

import math

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra `dev` is not installed")
pytest.importorskip("nbclient", reason="the extra `dev` is not installed")

from nbclient import NotebookClient  # noqa: E402

from tests.notebooks import NOTEBOOKS, executed, numbers, read, texts  # noqa: E402

MOST_BYTES = 300_000


def differing(old, new):
    """Cells whose texts have other numbers, or more or fewer of them."""

    def same(one, other):
        pairs = list(zip(numbers(one), numbers(other), strict=False))
        counts = len(numbers(one)) == len(numbers(other))
        return counts and all(math.isclose(a, b, rel_tol=0.03, abs_tol=2e-3) for a, b in pairs)

    return [at for at, pair in enumerate(zip(old, new, strict=True)) if not same(*pair)]


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_the_numbers_it_was_committed_with(path):
    if path.stem == "measure":
        pytest.importorskip("transformers", reason="the extra `measure` is not installed")
    assert not differing(texts(read(path)), texts(executed(path)))


def test_another_number_is_seen():
    assert differing(["rho 0.778 (95 %)"], ["rho 0.978 (95 %)"]) == [0]
    assert differing(["rho 0.778"], ["rho"]) == [0]
    assert differing(["rho 0.778, 1.2B-relu"], ["rho 0.779, 1.2B-relu"]) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_of_no_machine(path):
    notebook = read(path)
    assert path.stat().st_size < MOST_BYTES
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    shown = "\n".join(
        str(output.get("data", {}).get("text/html", "")) for cell in code for output in cell.outputs
    )
    assert not [
        word
        for word in ("/tmp", "/home", "/root", "/work", "it/s")
        if word in shown + "".join(texts(notebook))
    ]


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["density", "fit", "measure"]


@pytest.mark.long
def test_a_notebook_shows_bars_and_tables(monkeypatch):
    monkeypatch.delenv(
        "TQDM_DISABLE", raising=False
    )  # the command line sets it, in the process of a test too
    sources = [
        "from sparsity_lab.progress import chosen, SILENT\nchosen(None) is not SILENT",
        "import contextlib, io\nwith contextlib.redirect_stderr(io.StringIO()) as shown:\n"
        "    with chosen(None).track('work', 3) as advance:\n        advance(3)\nshown.getvalue()",
        "import pandas as pd\nfrom sparsity_lab import fit\n"
        "fit(pd.DataFrame({'x': [1, 2, 4, 8, 16, 32], 'y': [.9, .7, .6, .55, .5, .49], 'series': '<script>'}),\n"
        "    law='power', rivals=[], draws=0)",
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=120, iopub_timeout=60, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert outputs[0][-1]["data"]["text/plain"] == "True"
    assert "work" in outputs[1][-1]["data"]["text/plain"]
    html = outputs[2][-1]["data"]["text/html"]
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
