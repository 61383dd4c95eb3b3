"""Texts of users: one UTF-8 file, or a list of documents; whole, or passage by passage.

    text_file.py    a UTF-8 file, line ends as LF; archives and other formats are refused
    documents.py    JSON lines and folders of text files, each line or file a document; packed they are one text

A passage is what stands around a byte of a text, as far as its document goes: so a sample of a large corpus costs what
its windows cost.
"""
