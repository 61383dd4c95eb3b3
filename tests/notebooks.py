"""The notebooks of `examples/`: run as their readers run them, and their numbers.

python -m tests.notebooks    runs all of them and writes what came out
"""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)")


def read(path):
    """A notebook as it was committed."""
    return nbformat.read(path, as_version=4)


def executed(path):
    """A notebook with the outputs of a run, without bars, warnings and times, which are of one machine and moment."""
    notebook = read(path)
    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=300, iopub_timeout=60, kernel_name="python3", resources=where).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def texts(notebook):
    """What each cell of code shows, as text; cells that show none have an empty one."""
    return [
        "\n".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def numbers(text):
    """The numbers in a text."""
    return [float(word.replace(",", "")) for word in NUMBER.findall(text)]


if __name__ == "__main__":
    for place in NOTEBOOKS:
        nbformat.write(executed(place), place)
