"""Published results, compared with ours, and what several runs say together.

In: finished fits. Out: tables and pages that the other commands do not write.

    published.py         bundled tables with the settings and coefficients of their publications, and how far ours agree
    printed_digits.py    the best fit that rounds to the printed coefficients
    atlas.py             the index of all of these: verdict, published number and ours, error on the largest models
    families.py          limits against size and width-depth ratio, speed of convergence, pairs of activations
    families_report.py   these as `families.json` and `families.md`, and what their figure shows
    predictable_tasks.py which of 46 tasks scale predictably, by R^2 and by held-out sizes: the share of Lourie et al.
    demo_report.py       the page at the end of `sparsity-lab demo`

A limit enters a regression with the error of its profile interval; a limit that the data do not bound does not enter.
Runs measured by different rules are kept apart.
"""
