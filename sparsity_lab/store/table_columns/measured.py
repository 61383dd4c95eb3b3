"""Columns of what `measure` writes; keys of a record mean what `records.RECORD_KEYS` says of them."""

from __future__ import annotations

from sparsity_lab.store.columns import FAILURE, Column, TableColumns
from sparsity_lab.store.records import RECORD_KEYS


def _recorded(key: str, heading: str = "", *, format: str = "value", has_error: bool = False) -> Column:
    return Column(key, RECORD_KEYS[key], heading, format, has_error)


def _recorded_all(keys: str) -> list[Column]:
    return [_recorded(key) for key in keys.split()]


SERIES, CRITERION = _recorded("series"), _recorded("criterion")
RULE, KNOB, TOKENS = _recorded("rule", "rule"), _recorded("knob", "knob"), _recorded("tokens", "tokens")
TARGETS = (
    _recorded("ppl_increase_target", "p asked for"),
    _recorded("activation_ratio_target", "ratio asked for"),
)
RATIO = (
    _recorded("activation_ratio", "activation ratio", has_error=True),
    _recorded("activation_ratio_se", "± se"),
)
PPL_RATIO = _recorded("ppl_ratio", "PPL ratio", format="ratio")
LOSS_ERROR = _recorded("loss_delta_se_nats", "se of loss rise (nats)")
FLAGS = _recorded("flags", "flags")

TABLE = TableColumns(
    "table",
    SERIES,
    *_recorded_all("model revision architecture activation_function gated"),
    CRITERION,
    RULE,
    KNOB,
    _recorded("compat"),
    *TARGETS,
    *RATIO,
    _recorded("activated_share"),
    _recorded("ppl_dense", "PPL dense"),
    _recorded("ppl_sparse"),
    PPL_RATIO,
    *_recorded_all("loss_dense_nats loss_sparse_nats"),
    LOSS_ERROR,
    _recorded("nonzero_ratio"),
    FLAGS,
    TOKENS,
    *_recorded_all("window bos"),
    _recorded("trained_tokens", "trained tokens"),
    *_recorded_all("params_total params_nonembedding hidden_size intermediate_size layers width_depth_ratio"),
    *_recorded_all("text_sha256 seed"),
    Column("calibrated_on", "at thresholds, content_key of the record they are of"),
    *_recorded_all("content_key commit weights_sha256"),
    Column("equal_to", "other checkpoints of the table that hold the same bytes", "equal to"),
    FAILURE,
    readers="trained_tokens rule ppl_increase_target activation_ratio_target knob activation_ratio "
    "activation_ratio_se ppl_dense ppl_ratio loss_delta_se_nats tokens flags equal_to failed",
)
SWEEP = TableColumns("sweep", SERIES, CRITERION, KNOB, *RATIO, PPL_RATIO, LOSS_ERROR, markdown=False)
TRANSFER = TableColumns(
    "transfer",
    SERIES,
    *_recorded_all("model revision"),
    CRITERION,
    RULE,
    KNOB,
    *TARGETS,
    Column("calibrated_on", "name of the text that the thresholds were set on"),
    Column("measured_on", "name of the text that they were applied to"),
    *RATIO,
    Column("ppl_ratio", RECORD_KEYS["ppl_ratio"], "PPL ratio", "ratio", has_error=True),
    Column("ppl_ratio_se", "standard error of ppl_ratio: ppl_ratio times loss_delta_se_nats"),
    *_recorded_all("loss_dense_nats loss_sparse_nats"),
    LOSS_ERROR,
    FLAGS,
    Column("calibration_flags", "flags of the calibration"),
    TOKENS,
    _recorded("window"),
    Column("calibration_key", "content_key of the calibration's record"),
    _recorded("content_key"),
    FAILURE,
    markdown=False,
)
