"""Columns of what `affinity` writes."""

from __future__ import annotations

from sparsity_lab.store.columns import IDENTITY, Column, TableColumns, measured

F, D = Column("F", "neurons", "F"), Column("d", "hidden size", "d")
EFFICIENCY = (
    Column("efficiency", "ratio / ideal", "of the ideal"),
    Column("efficiency_low", "ratio_low / ideal"),
    Column("efficiency_high", "ratio_high / ideal"),
)
ENDS = (
    Column("ratio_low", "lower end of its 95 % interval, from order statistics", "from"),
    Column("ratio_high", "upper end", "to"),
)
TRAFFIC = TableColumns(
    "affinity",
    *IDENTITY,
    Column("convention", "which weights are not read; see `assumption`", "convention"),
    Column("tokens", "L, decoded by one pass; bytes are those of the pass", "L"),
    Column("rank", "of a trained predictor", "rank"),
    Column("budget", "neurons it names, over the mean number of active ones", "budget"),
    *measured("recall", "active neurons it names, over all active ones", "recall"),
    Column("ffn_dense_bytes", "of all neurons' weights"),
    *measured("ffn_bytes", "of neurons' weights read, a predictor's own among them"),
    *measured("ffn_share", "ffn_bytes / ffn_dense_bytes", "of FFN bytes", error="± se "),
    *measured("ffn_speedup", "ideal; empty where nothing is read", "FFN speed-up", error=" ± se"),
    Column("kv_bytes", "of the KV cache of the stated context, in both model columns"),
    Column("model_dense_bytes", "of everything a dense pass reads"),
    *measured("model_bytes", "of everything this pass reads"),
    *measured("model_share", "model_bytes / model_dense_bytes", "of model bytes", error=""),
    *measured("model_speedup", "model_dense_bytes / model_bytes: ideal", "model speed-up", error=" ± se "),
    Column("assumption", "in words"),
)
PRODUCTS = TableColumns(
    "affinity_products",
    *IDENTITY,
    Column(
        "what",
        "model: activations and weights of the model; planted: random ones of a stated activation ratio; calls: "
        "planted 8 x 8, nothing but the cost of calling",
        "weights",
    ),
    F,
    D,
    Column("activation_ratio", "active neurons over all, of the tokens timed", "activation ratio"),
    Column("weights_bytes", "of all W_d in turn, in one layout"),
    Column("products", "of one timed run"),
    Column("dense_seconds", "of one dense product, median over pairs", "dense, s"),
    Column("sparse_seconds", "of one product by sparse_down, median over pairs", "sparse, s"),
    Column("dense_bytes_per_second", "F d weights over dense_seconds", "dense, bytes/s"),
    Column("ratio", "dense over sparse time, median of pairs", "speed-up"),
    *ENDS,
    Column("ideal", "1 / activation_ratio: bytes of W_d over those of the columns needed", "ideal"),
    *EFFICIENCY,
)
BREAK_EVEN = TableColumns(
    "affinity_break_even",
    *IDENTITY,
    F,
    D,
    Column(
        "break_even",
        "planted activation ratio below which sparse_down was faster; empty where none or all of them were",
        "break-even activation ratio",
    ),
    Column("break_even_low", "the same by the lower ends of the intervals", "from"),
    Column("break_even_high", "the same by the upper ends", "to"),
    Column("verdict", "in words", "in words"),
)
DECODE = TableColumns(
    "affinity_decode",
    *IDENTITY,
    Column("prompt_tokens", "in the KV cache before the timed tokens", "prompt"),
    Column("timed_tokens", "decoded one at a time, in each run", "tokens"),
    Column("dense_seconds", "a token, the model as it is, median over pairs", "dense, s a token"),
    Column("sparse_seconds", "a token, with masks and sparse_down", "sparse, s a token"),
    Column("ratio", "dense over sparse time, median of pairs", "speed-up"),
    *ENDS,
    *measured("ideal", "model speed-up of output-side at this context, in the dtype timed", "ideal"),
    *EFFICIENCY,
)
