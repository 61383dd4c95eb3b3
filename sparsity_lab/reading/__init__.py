"""Files that users bring, read where their meaning is certain and refused with the change to make where it is not.

    texts/           texts: UTF-8 files, JSON lines and folders, whole or passage by passage
    csv_file.py      tables as spreadsheets, loggers and pandas write them
    csv_numbers.py   numbers as people write them: 0,5 or 1 000 000 or 1,000,000.5
    json_file.py     JSON of users and of programs, strictly or where it can be had
    toml_file.py     TOML, strictly or where it can be had
    yaml_file.py     YAML as plain values, without its traps
    units.py         the unit a column is read in, and whether its values can be in it
    unit_names.py    the words and amounts in a column's name
    unreadable.py    why a file could not be read: a Git LFS pointer, a merge conflict, another format
    walking.py       files by folder or pattern; links are followed, loops are not

A column's unit comes from its name or from a flag, which wins; values that cannot be in that unit stop the run, since
a wrong factor would change every number silently.
"""
