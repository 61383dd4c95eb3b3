"""What the neurons of a live model do under given thresholds, as a Python function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import Applicable, live_under
from sparsity_lab.measure.live.arguments import Reading, check_numbers
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.neurons.estimates import Estimator
from sparsity_lab.measure.neurons.frequency.decoding import DecodeCounts, DecodePlan, compare_decoding
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.parameters import Widths
from sparsity_lab.measure.neurons.visitor import neuron_pass
from sparsity_lab.measure.thresholds.stored import Calibration

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class NeuronReport:
    """What was counted on one text, ready to be asked.

    Attributes:
        estimator: counts, and estimates with errors.
        widths: weights of a neuron, for activated parameters.
        decode: reading against writing, or None where that was not asked for.
        layers: of the model; of a mixture each with all its experts.
    """

    estimator: Estimator
    widths: Widths
    decode: DecodeCounts | None
    layers: ModelLayers


def watch_neurons(
    model: Any,
    ids: torch.Tensor | Windows,
    *,
    thresholds: Applicable,
    decode: DecodePlan | None = None,
    seed: int = 0,
    **reading: Unpack[Reading],
) -> NeuronReport:
    """Count what the neurons of a live model do, in one sparse pass over a text.

    Args:
        model: as in `measure`.
        ids: the text's token ids, int64 [tokens], one stream without padding, or windows from `text_windows`.
        thresholds: as `sparsified` takes them: one per FFN layer on |a_i| w_i, or a record of `measure`.
        decode: also let the model write, so much.
        seed: of the bootstrap and of what is written.
        reading: window, bos_id, batch_size, architecture_file and progress, as `Reading` explains them.

    Raises:
        SparsityLabError: thresholds of another model, a text that is too short, or routes that cannot be seen.
    """
    check_numbers(seed=seed)
    with live_under(model, ids, thresholds, **reading) as live:
        total = live.shape["params_total"]
        return report_of(live.subject, live.calibration, decode=decode, params_total=total, seed=seed)


def report_of(
    subject: Subject, calibration: Calibration, *, decode: DecodePlan | None, params_total: int, seed: int
) -> NeuronReport:
    """The report of a model and text at hand.

    Raises:
        SparsityLabError: a loss that is not a number, a decoding plan beyond the window, or a mixture whose routes
            cannot be seen.
    """
    if decode is not None:
        decode.check(window=subject.windows.window)
    layers = ModelLayers.of(subject.sites)
    widths = Widths.of_layers(layers, params_total=params_total)
    counts = neuron_pass(subject, calibration)
    if not torch.isfinite(torch.from_numpy(counts.loss_nats)).all():
        raise SparsityLabError(
            "The loss under the thresholds is not a number",
            why="The model overflows in this dtype, or its weights are broken",
            fix="Try --dtype float32",
        )
    written = None if decode is None else compare_decoding(subject, calibration, decode, seed=seed)
    estimator = Estimator.of(
        counts, layers.sizes, sample=subject.windows.sample, site_sizes=layers.site_sizes
    )
    return NeuronReport(estimator, widths, written, layers)
