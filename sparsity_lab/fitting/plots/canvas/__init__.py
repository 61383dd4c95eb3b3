"""What all figures are drawn on: matplotlib as shipped, one style, names and fonts that work.

In: a table or results, from a file of `plots/`. Out: axes in the house style, saved as PNG and SVG.

    library.py   imports matplotlib apart from the user's environment
    style.py     the style, sizes, colors; `label` for every name in a figure; `save`
    fonts.py     which fonts can draw a text
    labels.py    names next to points, without overlaps
    frames.py    our own CSV tables as pandas frames
    axes.py      looks by number, bars, logarithms with plain numbers, named rows
    panels.py    figures with one panel for each model and text

A figure is made and saved inside `styled(names)`, which picks fonts for these names. Sizes are in inches, a column
being 3.5 and a page 7 wide; the same figure gives the same bytes.
"""
