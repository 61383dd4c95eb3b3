"""What fits found, as files: what is written of every batch of fits.

    files.py   fits.json (everything), fits.csv (a line a fit), residuals.csv, provenance.json, and the figures
    text.py    fits.md, for readers

Numbers are written first, and figures then, because these may fail or be left out.
"""
