"""How the knob of a cell is chosen, and the content key that names the cell.

The key is a hash of all that determines the numbers (weights, token ids, window, BOS, dtype, device kind,
criterion, knob, target or thresholds, seed, version of the algorithm), and of nothing that does not (batch size,
names, trained tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsity_lab.measure import architectures
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.spec import MeasureSpec, singly
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration
from sparsity_lab.settings import SPREAD
from sparsity_lab.store import records

ALGORITHM = 7  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class KnobNoise:
    """The noise of a knob that was found on several checkpoints.

    Attributes:
        components: of its coordinate's error; see `noise.Replicates.components`.
        interval: 95 % interval of the knob.
        ratio_slope: d ln(activation ratio) / dx over these checkpoints, for records without a slope of their own.
        text_sha256: of the windows that they were measured on.
    """

    components: tuple[float, ...]
    interval: tuple[float, float]
    ratio_slope: float | None
    text_sha256: str

    def of_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What a record at this knob says of it; its interval alone where windows are not those it was found on."""
        own = record.get("activation_ratio_components") or ()
        slope = record.get("activation_ratio_slope")
        if slope is None and self.ratio_slope is not None:
            slope = self.ratio_slope * record["activation_ratio"]
        if slope is None or len(own) != len(self.components) or record["text_sha256"] != self.text_sha256:
            return {"knob_interval": list(self.interval)}
        moved = np.array(own) + slope * np.array(self.components)
        return {
            "knob_interval": list(self.interval),
            "activation_ratio_se_with_knob": float(np.sqrt(moved @ moved)),
            "activation_ratio_components_with_knob": moved.tolist(),
        }


@dataclass(frozen=True)
class Setting:
    """How the knob of a cell is chosen.

    Attributes:
        rule: `fixed`, `ppl-increase`, `activation-ratio`, `series` or `thresholds`.
        knob: given for `fixed` and `series`.
        ppl_increase: given for `ppl-increase` and `series`.
        activation_ratio: given for `activation-ratio`.
        calibration: given for `thresholds`.
        flags: findings of the search on a series that gave the knob.
        knob_noise: of that knob; not part of the setting's identity or of any content key.
    """

    rule: str
    knob: float | None = None
    ppl_increase: float | None = None
    activation_ratio: float | None = None
    calibration: Calibration | None = None
    flags: tuple[str, ...] = ()
    knob_noise: KnobNoise | None = None

    def said(self) -> dict[str, Any]:
        """What a record says of it."""
        return {
            "rule": self.rule,
            "compat": None,
            "ppl_increase_target": self.ppl_increase,
            "activation_ratio_target": self.activation_ratio,
            "calibrated_on": self.calibration and self.calibration.calibrated_on,
        }


@dataclass(frozen=True)
class CellIdentity:
    """What determines a cell's numbers in addition to its setting.

    Attributes:
        windows: the text.
        weights: a hash that changes when the model does.
        dtype: of the weights and the forward pass.
        device: a torch device, or `auto` for several GPUs.
        criterion: id of the criterion.
        seed: of the bootstrap and the pilot.
        architecture_file: a file of the user's own, or None.
        compat: a reproduced algorithm, or None.
    """

    windows: Windows
    weights: str
    dtype: torch.dtype
    device: str
    criterion: str
    seed: int
    architecture_file: Path | None = None
    compat: str | None = None

    def key(self, setting: Setting) -> str:
        """Content key of the cell in one setting; what is not given is not part of it."""
        given: dict[str, Any] = {}
        if setting.calibration is not None:
            given["calibration"] = setting.calibration.identity()
        if self.compat is not None:
            given["compat"] = self.compat
        if setting.flags:
            given["flags"] = list(setting.flags)
        if self.windows.sample == SPREAD:
            given["sample"] = SPREAD
        return records.content_key(
            {
                **given,
                **model_determinants(self.weights, self.dtype, self.device, self.architecture_file),
                "algorithm": ALGORITHM,
                "text": self.windows.sha256,
                "window": self.windows.window,
                "bos": self.windows.bos_id,
                "criterion": self.criterion,
                "rule": setting.rule,
                "knob": setting.knob,
                "ppl_increase": setting.ppl_increase,
                "activation_ratio": setting.activation_ratio,
                "seed": self.seed,
            }
        )


def model_determinants(
    weights: str, dtype: torch.dtype, device: str, architecture_file: Path | None
) -> dict[str, Any]:
    """What a content key says of a model and where it runs; arguments as the attributes of `CellIdentity`."""
    kind = torch.device(device).type if device != "auto" else "cuda"
    determinants: dict[str, Any] = {"weights": weights, "dtype": str(dtype), "device": kind}
    if architecture_file is not None:
        determinants["architecture_file"] = architectures.file_sha256(architecture_file)
    return determinants


def setting_of(spec: MeasureSpec) -> Setting:
    """The setting of a spec without the series rule."""
    if spec.thresholds is not None:
        return given(read_calibration(spec.thresholds))
    if spec.knob is not None:
        return Setting("fixed", knob=spec.knob)
    if spec.activation_ratio is not None:
        return Setting("activation-ratio", activation_ratio=spec.activation_ratio)
    return Setting("ppl-increase", ppl_increase=spec.ppl_increase)


def settings_of(spec: MeasureSpec) -> list[Setting]:
    """The settings of a spec without the series rule, one for each of its values."""
    return [setting_of(one) for one in singly(spec)]


def given(calibration: Calibration) -> Setting:
    """The setting of thresholds found elsewhere; its PPL target is the one they were set at."""
    return Setting("thresholds", ppl_increase=calibration.ppl_increase, calibration=calibration)


def at(
    setting: Setting, knob: float, *, flags: tuple[str, ...] = (), knob_noise: KnobNoise | None = None
) -> Setting:
    """The series rule's setting at one knob; of the one found, with the findings of its search and its noise."""
    return replace(setting, rule="series", knob=knob, flags=flags, knob_noise=knob_noise)
