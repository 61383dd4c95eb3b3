"""One page of everything a folder holds: `sparsity-lab report`.

In: a folder that other commands wrote, or a folder of such folders. Out: `report.html`, one file that needs no
network; or only the tables, as Markdown or LaTeX.

    collect.py     which files under the folder belong to which command; unreadable ones are listed, not fatal
    parts/         what was collected -> sections, one file per subject
    layout.py      what the parts share: the section of one run of a command, its tables and sentences
    blocks.py      what a section is made of: tables, facts, prose, figures, folds
    cells.py       CSV cells as values, and values as readers want to see them
    heat_html.py   texts whose tokens are colored, and strips in tables
    html.py        blocks -> page, with page.html, page.css and page.js
    export.py      tables -> Markdown, or LaTeX with booktabs
    write.py       the whole way, from a folder to a file

Parts say what is shown, `html.py` and `export.py` how. Nothing that is read is executed: every text is escaped,
figures are images, in which a browser runs no script, and the page's own policy allows only the script it comes with.
A file in a shape that no command writes is left out and named.
"""
