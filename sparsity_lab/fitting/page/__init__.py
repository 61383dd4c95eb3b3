"""One page of everything a folder holds: `sparsity-lab report`.

    found.py      which files under a folder are of the other commands
    blocks.py     what a report is made of: sections, tables, facts, figures, folds
    values.py     CSV cells as numbers, and numbers as readers want them
    summary.py, measured.py, fits.py, others.py, heat.py, criteria.py, transfer.py, structure.py, predictors.py,
    affinity.py                                              one part of the report each
    told.py       what the newer of them share
    prose.py      the Markdown of a written report as blocks
    svg.py        a figure made safe, small and fit for light and dark
    html.py       blocks as one page: page.html, page.css, page.js
    texts.py      the tables as Markdown, or as LaTeX with booktabs
    write.py      all of it, from a folder to a file

Nothing of what is read is executed: every text is escaped, figures are rebuilt from a list of allowed elements,
and the page's own policy lets no script run but the one it was written with.
"""
