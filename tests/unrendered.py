"""Figures that are composed and then written empty: rendering takes most of a small command's time."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def unrendered():
    """Renders no figure meanwhile, and proves that it does not."""
    from sparsity_lab.fitting.plots.canvas import style

    class Blank(style.FigureCanvasAgg):
        """Measures text, and writes nothing."""

        def print_svg(self, *_, **__):
            pass

        print_png = print_svg

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "FigureCanvasSVG", Blank)
        patch.setattr(style, "FigureCanvasAgg", Blank)
        with style.styled([]), TemporaryDirectory() as folder:
            written = style.save(style.figure()[0], Path(folder) / "figure")
            assert [path.stat().st_size for path in written] == [0, 0], "figures are rendered in another way"
        yield
