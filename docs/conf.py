"""Settings of Sphinx for the pages of this folder; `make docs` builds them without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import _generate  # noqa: E402 - found beside this file

from sparsity_lab import __version__  # noqa: E402

project = "sparsity-lab"
author = "the authors of sparsity-lab"
release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"sparsity-lab {release}"
html_static_path = []
html_show_sphinx = False
html_copy_source = False
exclude_patterns = ["_build", "extend/templates"]
myst_heading_anchors = 4
# Words in code blocks of these kinds are not Python, whatever Pygments makes of them.
suppress_warnings = ["misc.highlighting_failure"]


def setup(app):
    """Write the pages that follow from the code, before any page is read."""
    _generate.write(HERE / _generate.FOLDER)
    app.connect("source-read", _relink)


def _relink(app, docname, content):
    """Lead links to pages outside this folder to their copies."""
    folder = (HERE / docname).parent
    if _generate.COPIES not in (folder, *folder.parents):
        content[0] = _generate.relinked(content[0], folder, folder)
