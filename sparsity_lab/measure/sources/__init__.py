"""The texts that a command names: a file, a folder, or a dataset through the `datasets` library.

    texts.py      opens whichever was named, and refuses what is no text before any model is loaded
    datasets.py   a dataset's configuration, split and column; its files are read by the readers of `reading/texts`
    named.py      texts by the names that tables call them
    paragraph.py  a paragraph to be shown token by token

What comes out is a list of documents, or one text; `model/sampling.py` takes windows from it.
"""
