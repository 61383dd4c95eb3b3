"""From text to what runs read: a tokenizer, two token files and the held-out text, prepared once per ladder.

In: the Python sources of the environment, the user's files, or a dataset. Out: the folder `data/`; `data.py` runs the
whole way and writes `manifest.json` last.

    corpus.py      documents as a stream, each content once, split into training and validation by a hash
    sources.py     corpora of files and datasets
    tokenizer.py   a byte-level BPE trained here, or a given tokenizer
    tokens.py      token files, and the windows of a run in a seeded order
    data.py        corpus -> files
    prepared.py    the files that are there already, refused where they are damaged or of something else
    identity.py    what data were made of, and whether that is still what is asked for
    epochs.py      how often a run walks the corpus; more than allowed is refused

Whole documents are split, never lines. A token file holds ids as uint16 or uint32, each document ended by the
end-of-text token, and is memory-mapped. Window i of a run depends on the file, the window length, the seed and i only.
"""
