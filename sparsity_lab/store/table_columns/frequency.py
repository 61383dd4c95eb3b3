"""Columns of what `neurons` writes."""

from __future__ import annotations

from sparsity_lab.store.columns import IDENTITY, Column, TableColumns, measured

LAYER = Column("layer", "0-based, or all")
NEURONS = TableColumns(
    "neurons",
    *IDENTITY,
    LAYER,
    Column("neurons", "F of the layer, or of all"),
    *measured("activation_ratio", "active neurons over all, over valid tokens", "activation ratio"),
    *measured("dead_share", "share of neurons that fire on < 0.1 % of tokens", "dead"),
    *measured("hot_share", "share of neurons that fire on > 50 % of tokens", "hot"),
    *measured("never_share", "share of neurons that never fire on this text"),
    *measured("frequency_p10", "10th percentile over neurons of the share of tokens they fire on"),
    *measured("frequency_median", "the median of the same", "median frequency"),
    *measured("frequency_p90", "90th percentile of the same"),
    *measured("reuse", "sum |S_t and S_{t+1}| / sum |S_t|, within windows", "reuse"),
    Column("reuse_by_chance", "the same if each fired independently at its own frequency", "by chance"),
)
CHUNKS = TableColumns(
    "chunks",
    *IDENTITY,
    LAYER,
    Column("tokens", "L, consecutive tokens; or t, first tokens of a window", "L"),
    *measured(
        "cls",
        "CLS_L = 1 - |union over L consecutive tokens| / F, disjoint chunks from the window's start; to L = 64",
        "CLS_L",
    ),
    *measured("aggregated_sparsity", "1 - |union over the first t tokens of a window| / F", "aggregated"),
    Column("sparsity_by_chance", "the same if each fired independently at its own frequency", "by chance"),
    *measured(
        "touched_output_side",
        "share of FFN weights read for L tokens where W_d columns of neurons not in the union are skipped",
        "weights touched, output-side",
        error="",
    ),
    *measured("touched_input_side", "the same where their W_g and W_u rows are", "input-side", error=""),
    *measured("touched_oracle", "the same where both are", "oracle"),
    readers="name text tokens cls cls_se sparsity_by_chance aggregated_sparsity aggregated_sparsity_se "
    "touched_output_side touched_input_side touched_oracle touched_oracle_se",
)
PARAMETERS = TableColumns(
    "parameters",
    *IDENTITY,
    Column(
        "convention",
        "output-side (W_d columns of inactive neurons skipped), input-side (W_g and W_u rows), oracle (both)",
        "convention",
    ),
    Column("ffn_dense", "weights of all FFN neurons"),
    Column("model_dense", "parameters of the model, tied ones once"),
    *measured("ffn_params", "FFN weights read per token", "FFN parameters", error=""),
    *measured("ffn_share", "the same over ffn_dense", "of FFN"),
    *measured("model_params", "the same, and all other parameters", "model parameters", error=""),
    *measured("model_share", "the same over model_dense", "of model"),
)
DECODE = TableColumns(
    "decode",
    *IDENTITY,
    LAYER,
    Column("prompts", "beginnings of windows"),
    Column("prompt_tokens", "tokens of each"),
    Column("written_tokens", "tokens written after each, and read after it in the text"),
    *measured("prompt", "activation ratio over prompts (prefill)", "prompt, read"),
    *measured("continuation", "over the tokens that follow in the text, read", "text, read"),
    *measured(
        "written",
        "over the tokens the model wrote under the thresholds, one at a time from the KV cache (decode)",
        "written",
    ),
    *measured("written_less_prompt", "difference, paired over prompts"),
    *measured("written_less_continuation", "paired, at the same positions", "written - text"),
)
TOKENS = TableColumns(
    "tokens",
    *IDENTITY,
    Column("token_id", "id of the token"),
    Column("token", "what it reads as, on one line; a part of a character by the tokenizer's name of it"),
    Column("count", "how often it occurs"),
    *measured("activation_ratio", "active neurons over all, over its occurrences"),
    markdown=False,
)
POSITIONS = TableColumns(
    "positions",
    *IDENTITY,
    Column("position", "in the window, 0-based"),
    *measured("activation_ratio", "active neurons over all, over windows"),
    markdown=False,
)
FREQUENCY = TableColumns(
    "frequency",
    *IDENTITY,
    LAYER,
    Column("low", "share of tokens above which the neurons of this row fire; 0 with high 0: never"),
    Column("high", "share of tokens on which they fire at most"),
    Column("neurons", "how many they are"),
    Column("share", "neurons over F"),
    markdown=False,
)
TOKEN_PAIRS = TableColumns(
    "token_pairs",
    Column("model", "a checkpoint", "model"),
    Column("other", "another that reads the same token ids", "other"),
    Column("text", "name of the text", "text"),
    Column("token_ids", "how many ids are compared: those that occur often enough", "token_ids"),
    *measured(
        "correlation",
        "of the ids' activation ratios in the two; empty where there are too few ids or one does not vary",
        "correlation",
        error="correlation_se",
    ),
    *measured("rank_correlation", "the same of ranks", "rank_correlation", error="rank_correlation_se"),
)
