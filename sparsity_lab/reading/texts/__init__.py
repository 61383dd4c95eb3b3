"""Texts of users: one UTF-8 file, or a list of documents; whole, or passage by passage.

    passages.py      a text in a file or in memory, and passages of it; places are bytes of the text as it was written
    text_file.py     a UTF-8 file, line ends as LF; archives and other formats are refused
    documents.py     what every list of documents can do: its number of documents, one by its number, all in order
    json_lines.py    JSON lines, plain or compressed, a document a line
    text_folder.py   a folder of text files, a document each
    tables.py        a column of a parquet file or of a dataset in memory, a document a row
    dataset_name.py  datasets as users name them, and the short names

A place in a list is a document's number and a byte of its text, so that windows lie the same in every form. A passage
is what surrounds a place, as far as its document goes: a sample of a large corpus costs what its windows cost.
"""
