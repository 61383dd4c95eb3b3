"""Columns of what `measure` writes; where a line has no meaning, it is that of the record's key."""

from sparsity_lab.store.columns import described

TABLE = described(
    "measured",
    "table",
    readers="trained_tokens rule ppl_increase_target activation_ratio_target knob activation_ratio "
    "activation_ratio_se activation_ratio_se_with_knob ppl_dense ppl_ratio loss_delta_se_nats tokens errors_hold_for "
    "flags equal_to failed",
)
TARGETS = TABLE.pick("ppl_increase_target activation_ratio_target")
ERROR_PARTS = described("measured", "error_parts", markdown=False)
SWEEP = described("measured", "sweep", markdown=False)
TRANSFER = described("measured", "transfer", markdown=False)
TEXTS = described("measured", "texts", markdown=False)
