"""sparsity-lab: empirical sparsity and density laws of language models.

Three questions. How sparse are a model's feed-forward activations at equal quality (`measure`)? How does that move
with training data, shape and size (`fitting`, with the curves of `laws`)? How much capability does each parameter
carry (`fitting.density`)?

    ladder     trains small families of checkpoints, so that there is something to measure along
    measure    checkpoints and a text -> one record per measurement, and a table of them
    kernels    the thresholds, counts and products that measuring needs, each in torch and in Triton
    laws       closed-form curves, one file each
    fitting    tables -> coefficients with verdicts, locks, densities, figures, reports
    bench      how fast the parts are, and whether the stated intervals hold the truth
    loggers    shows a run in TensorBoard or Weights & Biases while it goes on
    cli        the commands: parsing, printing, exit codes
    store      the files this package writes
    reading    the files users bring
    machine    cores, memory, signals, worker processes
    data       published tables and rulers that come with the package

Used everywhere: `errors` (what happened, why, what to try), `registry` (finds laws, criteria and the like by name),
`extras` (optional packages), `ranges` (the allowed range of every number), `progress`, `provenance`, `labels` (short
names) and `tokenization` (text to token ids). `__main__` is the program.

`measure` and `fitting` never import each other. They meet in files: what one writes, the other reads. So fitting,
checking and density run without torch.

In Python, `from sparsity_lab import measure, sparsified, fit, density` gives the four functions; each is imported when
it is first asked for. `measure` is the package of that name, which can be called.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

# Where the functions are: no import here, so that `import sparsity_lab` takes no time (PEP 562). `__init__.pyi` says
# the same to editors and type checkers; a test holds the two together.
_FUNCTIONS = {
    "measure": "sparsity_lab.measure",
    "sparsified": "sparsity_lab.measure.api:sparsified",
    "fit": "sparsity_lab.fitting.api.fit:fit",
    "density": "sparsity_lab.fitting.api.density:density",
}


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = _FUNCTIONS[name].partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, function) if function else loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS})
