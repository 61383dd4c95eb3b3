"""The command line: parsing, printing, exit codes; no arithmetic. One file per command.

A call goes through `__main__.py` (streams, signals, the end of the process) to `main.py`, which gathers the commands,
lets `console/` check packages and ranges, and prints our errors as one paragraph. A command file declares its
options as the fields of a dataclass, calls one function of a room, and prints what it wrote. What several commands
take is in `shared_options.py`; what specifications in Python take as well is in `sparsity_lab/settings.py`.

    train.py, demo.py, study.py               train a ladder; a small study; a whole one (stages.py: its stages)
    measure.py                                measure_options.py: its options, and which do nothing together
    neurons.py, structure.py, predict.py      what neurons do under thresholds
    affinity.py, heat.py, evaluate.py         `affinity`, `heat`, `eval`
    fit.py, check.py                          fit laws, lock them, check the locks
    density.py                                density_corollaries.py: its further commands
    report.py, ls.py                          a page of a folder; what can be named
    bench.py, bench_train.py                  benchmarks
    console/                                  what all commands share

What to know: exit code 0 is success, 1 a finding (a failed checkpoint, a lock that drifted, under `fit --strict` a law
that is not identified), 2 an error that the message explains. Results and tables go to stdout, notes and progress to
stderr. Heavy packages are imported inside the commands, so that `--help` answers at once.
"""
