"""From checkpoints and a text to activation ratios at equal quality: `sparsity-lab measure`.

In: model folders, GGUF files or Hub ids, and a UTF-8 text. Out: one JSON record for each cell (one checkpoint in one
setting), and `table.csv` and `table.md` of all cells. `checkpoints.py` runs the chain:

    1 spec         spec.py expands the names to checkpoints, in series, and holds every setting; checks.py refuses
                   settings that no model could be measured with
    2 checkpoint   checkpoint/ finds the files, identifies them by hash, loads and verifies the weights
    3 windows      model/windows.py tokenizes the text and cuts it into windows of equal length, without padding
    4 passes       architectures/ says where the feed-forward parts are, model/ proves it on a few tokens, hooks them
                   and passes batches of windows through the model
    5 calibration  criteria/ turns the knob into a rule for dropping neurons; where it needs thresholds, a pass of the
                   unchanged (dense) model sets them, with thresholds/
    6 search       search/ finds the knob at the target and counts the neurons that a sparse pass keeps, with errors
    7 record       work/ decides which cells are open and who measures them, and writes each record as it completes
    8 table        table.py writes the tables

A number that a record holds becomes a column of table.csv by one line in `store/table_columns/measured.py`. A new
number also takes its key and meaning in `store/record_keys.py`, and its value in `work/record.py`.

Other ways in and other questions:

    series_rule.py        one knob for a whole run of checkpoints (`--stabilise`)
    compare_criteria.py   all criteria side by side (`--criterion all`)
    texts/                thresholds of each text applied to every other, and how texts differ (`--transfer`)
    api.py                the same measurements as functions on a live model, and `sparsified`
    callback.py           measures a model while transformers' Trainer trains it
    live/                 what these two need to leave a live model as they found it
    token_heat.py         which tokens of a paragraph need many neurons: `sparsity-lab heat`
    neurons/              what single neurons do under a record's thresholds
    lm_eval/              benchmark scores under a record's thresholds: `sparsity-lab eval`
    compat/               a released algorithm, reproduced for comparison (`--compat`)

What to know first:

- Gated: s = sigma(W_g x), u = W_u x, a = s * u in R^F, y = W_d a. Not gated: a = s. The neurons of a layer are the F
  entries of a. With D the neurons dropped for a token in a layer, the activation ratio is 1 - |D|/F over all tokens
  and layers. It is counted in the sparse run. An exact zero is inactive at every threshold. A BOS is not counted.
- PPL-p% is the ratio at the knob where exp(L_sparse - L_dense) = 1 + p. Losses are nats per predicted token.
- Counts are additive: one row per window, int64 counts and float64 loss sums, merged by `+` and divided once, at the
  end. So sums do not depend on the batch size, or on who measured which part.
- Weights never change. Calibrated thresholds come from the dense run, while in the sparse run each layer sees what the
  drops before it have left.
- This package is also a function: `from sparsity_lab import measure` gives the package, whatever was imported before
  it, and `measure(model, ids)` calls `api.measure`. `help(measure)` therefore shows this page; the page of the
  function is `help(measure.api.measure)`.
"""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

from sparsity_lab import extras

extras.require(*extras.MODEL, who=__name__)


class _CallablePackage(ModuleType):
    """A package that is called as its function `api.measure`, and pickled by name as functions are.

    A package imported once is an attribute of its parent, which a `__getattr__` there (PEP 562) is not asked for.
    """

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call `sparsity_lab.measure.api.measure`, which see."""
        from sparsity_lab.measure.api import measure

        return measure(*arguments, **keywords)

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the function."""
        from sparsity_lab.measure.api import measure

        return inspect.signature(measure)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallablePackage
