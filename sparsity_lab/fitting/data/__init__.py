"""Tables of points, read into series and checked at the door.

In: a CSV. Out: `Series`, points in order of x with what was measured and in which units: of one run, or of all runs
where a law has several inputs.

    columns.py      which column is x, y, group and error, and the unit each is read in
    rows.py         one row -> one point; a faulty cell is named by file, row and column
    series.py       points -> series
    text_parts.py   what the text measured on does to all points together
    magnitudes.py   numbers too large, too small or too far apart for the arithmetic of a fit
    names.py        file names of the figures of series

Tokens become tokens/1e9 here and nowhere else, unless they are one input of several; ratios become fractions. Rows
measured by different rules, criteria, targets or fixed knobs are different quantities and never share a series. A
series' hash covers all its points, before any leading ones are left out.
"""
