"""Columns of what `density` and its commands write."""

from __future__ import annotations

from sparsity_lab.store.columns import Column, TableColumns, as_keyed

MODEL = Column("model", "its name, the shortest that tells it apart", "model")
RELEASED = Column("released", "release date; empty where unknown", "released")

TABLE = TableColumns(
    "table",
    MODEL,
    RELEASED,
    Column("size_b", "N in 1e9 of the ruler's unit", "N (1e9)"),
    Column("score", "mean over the tasks, 0 to 1", "score"),
    Column("score_error", "half-width that holds 68 % of its error", "± score"),
    Column("effective_b", "N^, the reference size of that score; empty where a bound holds", "N^ (1e9)"),
    Column("rho", "N^ / N; empty where a bound holds", "rho"),
    Column("rho_low", "lower end of its 95 % interval, or bound; empty where open", "low"),
    Column("rho_high", "upper end", "high"),
    Column("extrapolation_ratio", "N^ over the largest reference size", "N^/N max"),
    Column("frontier", "whether it sets a new maximum of rho", "frontier"),
    Column("tasks", "that its score is of", "tasks"),
    Column("flags", "findings", "flags"),
)
PER_TASK = TableColumns(
    "per_task",
    MODEL,
    RELEASED,
    Column("mean", "rho by the mean over tasks, or a bound as `> 2.4`; then by each task alone", "mean"),
)
SENSITIVITY = TableColumns(
    "sensitivity",
    Column("choice", "what is chosen otherwise", "choice"),
    Column("value", "how", "value"),
    Column("models", "that entered the trend", "models"),
    Column("frontier", "how many of them are on it", "frontier"),
    Column("A_per_day", "growth of ln rho_max a day", "A per day"),
    Column("A_low", "lower end of its 95 % interval", "low"),
    Column("A_high", "upper end", "high"),
    Column("doubling_days", "ln 2 / A; empty where A is not positive", "doubling (days)"),
    Column("note", "why there is no trend", "note"),
)
LOSSES = TableColumns(
    "losses",
    MODEL,
    *as_keyed(
        thresholds="under which it ran, or dense",
        task="as lm-eval calls it",
        metric="lm-eval's key of the score",
        score="0 to 1",
        score_se="its standard error, where the result states one",
        documents="questions asked",
        nats_per_token="loss of the gold answer per token; empty without a tokenizer",
        nats_per_token_se="its standard error",
        bits_per_byte="loss of the gold answer per byte",
        bits_per_byte_se="its standard error",
        shots="examples in the prompt",
        why_metric="why that metric is the score",
        identity="all that tells the model and its setting apart",
    ),
)
PREDICTIONS = TableColumns(
    "predictions",
    Column("task", "of the ladder", "task"),
    Column("actual_loss", "of the run predicted, mean of its last checkpoints", "loss"),
    Column("recipe_loss", "by the published recipe", "recipe: loss"),
    Column("actual_score", "of the run predicted, 0 to 1", "score"),
    Column("recipe_score_given_loss", "the recipe's, from the actual loss", "recipe: score given loss"),
    Column("recipe_chained", "the recipe's, from its own loss", "recipe: chained"),
    Column("own_chained", "by our own choice", "own choice"),
    Column("own_low", "lower end of its 95 % interval", "low"),
    Column("own_high", "upper end", "high"),
    Column("held", "whether the actual score is inside", "held"),
    Column("published_gap", "largest gap of the recipe to its published numbers", "largest gap to published"),
)
PAIRS = TableColumns(
    "pairs",
    Column("model", "that was compressed", "compressed model"),
    Column("source", "of which model", "source"),
    Column("method", "how", "method"),
    Column("rho", "of the compressed model; empty where a bound holds", "rho"),
    Column("rho_source", "of its source", "of its source"),
    Column("ratio", "rho / rho_source", "ratio"),
    Column("low", "lower end of its 95 % interval; empty where open", "low"),
    Column("high", "upper end", "high"),
    Column("verdict", "in words", "verdict"),
    Column("tasks", "that both scores are of", "tasks"),
)
NEEDED = TableColumns(
    "needed",
    Column("on", "day", "date"),
    Column("score", "asked for, 0 to 1", "score"),
    Column("params_b", "of a frontier model with that score, 1e9", "parameters (1e9)"),
    Column("low_b", "lower end of its 95 % interval", "low"),
    Column("high_b", "upper end", "high"),
    Column("projected", "whether the day is after the last model", "projected"),
)
PRICES = TableColumns(
    "prices",
    MODEL,
    RELEASED,
    Column("price", "as the file has it", "price"),
    Column("score", "0 to 1", "score"),
    Column("cheapest", "whether it is the lowest price so far", "cheapest"),
)
