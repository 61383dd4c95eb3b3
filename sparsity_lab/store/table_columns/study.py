"""Columns of what a study writes into `compare/`; readers see their keys."""

from __future__ import annotations

from sparsity_lab.store.columns import Column, TableColumns, as_keyed

RUN, ACTIVATION, RULE = as_keyed(
    run="its name",
    activation="relu, silu, ...; `-plain` behind it where the FFN has no gate",
    rule="series, ppl-increase (a knob of its own), or fixed-C with the CETT C",
)
(PARAMETERS,) = as_keyed(parameters="without embeddings")
(COMMON,) = as_keyed(tokens_per_parameter="the most that all sizes have")
LIMIT = as_keyed(
    law="that is fitted",
    verdict="whether the data say where the curve ends",
    limit="of the ratio by the law",
    limit_low="lower end of its 95 % interval; empty where open",
    limit_high="upper end",
    limit_bound="all that the data say, where the limit is not identified",
    best_by_aicc="law that explains the points best",
)


def _slope(name: str, meaning: str, way: str = "way") -> tuple[Column, ...]:
    """A slope with its 95 % interval, and which way it goes where that has a column."""
    words = {name: meaning, f"{name}_low": "lower end of its 95 % interval", f"{name}_high": "upper end"}
    return as_keyed(**words, **({way: "rises, falls, level or short, by the interval"} if way else {}))


DIRECTIONS = TableColumns(
    "directions",
    RUN,
    ACTIVATION,
    RULE,
    PARAMETERS,
    *as_keyed(
        checkpoints="how many",
        first_tokens_per_parameter="of the first checkpoint",
        last_tokens_per_parameter="of the last",
        first_ratio="activation ratio of the first checkpoint",
        last_ratio="of the last",
    ),
    *_slope("slope", "of the activation ratio per factor e of tokens"),
    *as_keyed(first_knob="knob of the first checkpoint", last_knob="of the last"),
    *_slope("knob_slope", "of ln knob per factor e of tokens", ""),
    *as_keyed(first_ppl_ratio="PPL sparse over dense of the first checkpoint", last_ppl_ratio="of the last"),
    *LIMIT,
)
SEGMENTS = TableColumns(
    "segments",
    RUN,
    ACTIVATION,
    PARAMETERS,
    *as_keyed(
        from_tokens_per_parameter="lower edge of the stretch",
        to_tokens_per_parameter="upper edge",
        rule="series, ppl-increase, or the difference of the two",
        checkpoints="how many are inside",
    ),
    *_slope("slope", "of the activation ratio per factor e of tokens"),
)
EQUAL_LOSS = TableColumns(
    "equal_loss",
    PARAMETERS,
    RULE,
    *as_keyed(loss_nats="dense, on the text measured on"),
    ACTIVATION,
    RUN,
    *as_keyed(ratio="activation ratio there", se="its standard error", tokens="needed to get there"),
)
VERSUS = TableColumns(
    "versus",
    PARAMETERS,
    RULE,
    *as_keyed(
        loss_nats="dense, on the text measured on",
        reference="activation that others are compared with",
        other="another",
        reference_ratio="activation ratio of the reference",
        other_ratio="of the other",
        difference="the other's less the reference's",
        low="lower end of its 95 % interval",
        high="upper end",
        verdict="what the reference is: sparser, denser or not told apart",
    ),
)
SHAPES = TableColumns(
    "shapes",
    RULE,
    RUN,
    ACTIVATION,
    *as_keyed(
        width_depth_ratio="d / L",
        activation_ratio="at the common tokens",
        activation_ratio_se="its standard error",
        tokens="the most that all shapes have seen",
    ),
    PARAMETERS,
)
SIZES = TableColumns(
    "sizes",
    RULE,
    ACTIVATION,
    RUN,
    PARAMETERS,
    COMMON,
    *as_keyed(ratio="activation ratio there", se="its standard error"),
    *LIMIT,
)
AGAINST_SIZE = TableColumns(
    "against_size",
    RULE,
    ACTIVATION,
    *as_keyed(sizes="how many"),
    COMMON,
    *_slope("slope", "of the ratio there per factor e of parameters"),
    *as_keyed(limits="how many are bounded on both sides"),
    *_slope("limit_slope", "of those limits per factor e of parameters", "limit_way"),
)
LOSS_POINTS = TableColumns(
    "losses",
    *as_keyed(
        series="name of the run",
        params_nonembedding="parameters without embeddings",
        trained_tokens="of the checkpoint",
        loss_dense_nats="on the text measured on",
    ),
    markdown=False,
)
