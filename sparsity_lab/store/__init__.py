"""Files that this package writes: there whole or not at all, and records named by what determines their numbers.

    whole_files.py   a file is written under a temporary name, flushed and renamed
    records.py       the record of one cell of `measure`: content key, hash
    record_keys.py   its keys, their types and meanings
    arrays.py        records with a `.safetensors` of the same name, for the commands that watch neurons
    columns.py       `Column`: what a column of a table is called and what it means
    table_columns/   the columns of every table of `measure` and of the commands about neurons
    error_parts.py   what samples of one text have in common: covariances of the rows of a table
    tables.py        CSV with every digit, Markdown rounded for readers
    file_names.py    a name as a file name: distinct names, distinct files, on every disk
    bundled.py       the tables and the text in `data/`, by name

What to know: `records.content_key` hashes everything that determines a cell's numbers, and the key names the file. So
a record that exists is the answer, and nothing is measured twice. A record that does not match its own hash is set
aside and made again.
"""
