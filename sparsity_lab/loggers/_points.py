"""Records of `sparsity-lab measure` as points of curves: names, values and what a series is.

A name says quantity, criterion and rule, `activation_ratio/cett_series_0_01`: one curve never mixes two rules, which
are different quantities. Letters, digits and underscores are what both TensorBoard and W&B leave as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG = (
    "series", "architecture", "activation_function", "gated", "params_total", "params_nonembedding", "hidden_size",
    "intermediate_size", "layers", "width_depth_ratio", "tokens", "window", "text_sha256",
)  # fmt: skip


def label_of(record: Mapping[str, Any]) -> str:
    """Which curve a record is on: algorithm, criterion, rule and what the rule was given."""
    given = {
        "fixed": record.get("knob"),
        "activation-ratio": record.get("activation_ratio_target"),
        "thresholds": str((record.get("calibrated_on") or {}).get("content_key"))[:8],
    }
    rule = str(record["rule"])
    words = (
        record.get("compat"),
        record["criterion"],
        rule,
        given.get(rule, record.get("ppl_increase_target")),
    )
    said = (f"{word:g}" if isinstance(word, float) else str(word) for word in words if word is not None)
    return re.sub(r"[^0-9a-zA-Z]+", "_", "_".join(said))


def values_of(record: Mapping[str, Any], label: str) -> dict[str, float]:
    """The values of a record by their names; those that it does not have are left out."""
    found = {
        "activation_ratio": record["activation_ratio"],
        "activation_ratio_se": record["activation_ratio_se"],
        "knob": record["knob"],
        "ppl_ratio": record["ppl_ratio"],
        "loss_rise_nats": record["loss_sparse_nats"] - record["loss_dense_nats"],
        "loss_rise_se_nats": record["loss_delta_se_nats"],
        "loss_dense_nats": record["loss_dense_nats"],
    }
    return {f"{name}/{label}": float(value) for name, value in found.items() if value is not None}


def config_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is the same all along a record's series."""
    return {"model": Path(str(record["model"])).parent.as_posix()} | {key: record.get(key) for key in CONFIG}
