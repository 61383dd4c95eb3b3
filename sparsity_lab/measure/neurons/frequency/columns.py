"""What each column of the tables means, which of them are measured and have an error, and what readers see."""

from __future__ import annotations

IDENTITY = ("name", "text")
SHARED_COLUMNS = {
    "name": "checkpoint: its series, and its own name where that differs",
    "text": "name of the text",
    "layer": "0-based, or all",
}
LAYER_COLUMNS = {
    "neurons": "F of the layer, or of all",
    "activation_ratio": "active neurons over all, over valid tokens",
    "dead_share": "share of neurons that fire on < 0.1 % of tokens",
    "hot_share": "share of neurons that fire on > 50 % of tokens",
    "never_share": "share of neurons that never fire on this text",
    "frequency_p10": "10th percentile over neurons of the share of tokens they fire on",
    "frequency_median": "the median of the same",
    "frequency_p90": "90th percentile of the same",
    "reuse": "sum |S_t and S_{t+1}| / sum |S_t| over tokens with a successor in their window",
    "reuse_by_chance": "the same for neurons that fire at their own frequencies, each token anew",
}
CHUNK_COLUMNS = {
    "tokens": "L, consecutive tokens; or t, first tokens of a window",
    "cls": "CLS_L = 1 - |union over L consecutive tokens| / F, disjoint chunks from the window's start; to L = 64",
    "aggregated_sparsity": "1 - |union over the first t tokens of a window| / F",
    "sparsity_by_chance": "the same for neurons that fire at their own frequencies, each token anew",
    "touched_output_side": "share of FFN weights read for L tokens where W_d columns of neurons not in the union are "
    "skipped",
    "touched_input_side": "the same where their W_g and W_u rows are",
    "touched_oracle": "the same where both are",
}
PARAMETER_COLUMNS = {
    "convention": "output-side (W_d columns of inactive neurons skipped), input-side (W_g and W_u rows), oracle (both)",
    "ffn_dense": "weights of all FFN neurons",
    "model_dense": "parameters of the model, tied ones once",
    "ffn_params": "FFN weights read per token",
    "ffn_share": "the same over ffn_dense",
    "model_params": "parameters read per token, embeddings, attention and biases counted whole",
    "model_share": "the same over model_dense",
}
DECODE_COLUMNS = {
    "prompts": "beginnings of windows",
    "prompt_tokens": "tokens of each",
    "written_tokens": "tokens written after each, and read after it in the text",
    "prompt": "activation ratio over prompts (prefill)",
    "continuation": "over the tokens that follow in the text, read",
    "written": "over the tokens the model wrote under the thresholds, one at a time from the KV cache (decode)",
    "written_less_prompt": "difference, paired over prompts",
    "written_less_continuation": "difference, paired over prompts: the same positions",
}
TOKEN_COLUMNS = ("name", "text", "token_id", "token", "count", "activation_ratio", "activation_ratio_se")
POSITION_COLUMNS = ("name", "text", "position", "activation_ratio", "activation_ratio_se")
FREQUENCY_COLUMNS = ("name", "text", "layer", "low", "high", "neurons", "share")
PAIR_COLUMNS = (
    "model", "other", "text", "token_ids", "correlation", "correlation_se", "rank_correlation", "rank_correlation_se",
)  # fmt: skip
WITHOUT_ERROR = {"name", "text", "layer", "neurons", "reuse_by_chance", "tokens", "sparsity_by_chance", "convention",
                 "ffn_dense", "model_dense", "prompts", "prompt_tokens", "written_tokens"}  # fmt: skip

READER = {
    "neurons": {
        "name": "checkpoint", "text": "text", "activation_ratio": "activation ratio", "activation_ratio_se": "± se",
        "dead_share": "dead", "dead_share_se": "± se", "hot_share": "hot", "hot_share_se": "± se",
        "frequency_median": "median frequency", "frequency_median_se": "± se", "reuse": "reuse", "reuse_se": "± se",
        "reuse_by_chance": "by chance",
    },
    "chunks": {
        "name": "checkpoint", "text": "text", "tokens": "L", "cls": "CLS_L", "cls_se": "± se",
        "sparsity_by_chance": "by chance", "aggregated_sparsity": "aggregated", "aggregated_sparsity_se": "± se",
        "touched_output_side": "weights touched, output-side", "touched_input_side": "input-side",
        "touched_oracle": "oracle", "touched_oracle_se": "± se",
    },
    "parameters": {
        "name": "checkpoint", "text": "text", "convention": "convention", "ffn_params": "FFN parameters",
        "ffn_share": "of FFN", "ffn_share_se": "± se", "model_params": "model parameters", "model_share": "of model",
        "model_share_se": "± se",
    },
    "decode": {
        "name": "checkpoint", "text": "text", "prompt": "prompt, read", "prompt_se": "± se",
        "continuation": "text, read", "continuation_se": "± se", "written": "written", "written_se": "± se",
        "written_less_continuation": "written - text", "written_less_continuation_se": "± se",
    },
}  # fmt: skip


def columns(documented: dict[str, str], *, layer: bool = True) -> tuple[str, ...]:
    """Columns of a CSV: the names, each measured number's error behind it."""
    named = (*IDENTITY, *(("layer",) if layer else ()), *documented)
    return tuple(c for name in named for c in ((name,) if name in WITHOUT_ERROR else (name, f"{name}_se")))
