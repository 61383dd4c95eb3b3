"""What all commands share: options from a file, checks before work, progress, streams.

    options.py    a command out of a dataclass of options; which of them are given
    config.py     `--config FILE`: options from YAML, weaker than flags; writes what a command ran with
    ranges.py     wraps every command: packages installed, numbers in range, output a folder
    examples.py   examples of every command, shown in its --help
    needs.py      which optional packages each command needs
    progress.py   progress bars on stderr, on a terminal that can redraw
    streams.py    stdout and stderr that survive a reader who leaves, and a full disk
    watching.py   how the commands that watch neurons run: dry, or with loggers, figures and tables

Packages, ranges and outputs are checked before a command does anything. Bars and streams know nothing of what a
command computes: rooms report through `progress.Progress` and the logging module.
"""
