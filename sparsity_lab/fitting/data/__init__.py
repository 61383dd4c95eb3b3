"""Tables of points, read into series and checked at the door.

In: a CSV. Out: `Series`, the points of one run in order of x, with what was measured and in which units.

    columns.py      which column is x, y, group and error, and the unit each is read in
    series.py       rows -> series; a faulty cell is named by file, row and column
    magnitudes.py   numbers too large, too small or too far apart for the arithmetic of a fit
    names.py        file names of the figures of series

Tokens become tokens/1e9 here and nowhere else; ratios become fractions. Rows measured by different rules, criteria,
targets or fixed knobs are different quantities and never share a series. A series' hash covers all its points, before
any leading ones are left out.
"""
