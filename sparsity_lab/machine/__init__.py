"""The computer a command runs on: cores, memory, environment variables, signals, and processes that share work.

    environment.py   environment variables with a number or a folder, read here only
    cores.py         cores this process may use, a container's quota included
    memory.py        memory of this process
    signals.py       Ctrl-C, SIGTERM and a closed terminal end the program within two seconds
    workers.py       worker processes, each with a share of the cores, none outliving its parent
    sole_writer.py   one process at a time in a folder of results

`__main__.py` calls `signals.run`. Work that uses several processes takes `workers.py`;
commands whose outputs would replace each other's take `sole_writer.py`. Cells of `measure` have claims instead
(`measure/work/claims.py`), so that several commands can share one output.
"""
