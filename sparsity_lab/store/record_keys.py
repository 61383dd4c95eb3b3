"""The keys of a record, each with its type and its meaning: the one place where they stand."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict, get_type_hints


class Record(TypedDict):
    """What `sparsity-lab measure` leaves of one cell: one checkpoint in one setting, as JSON holds it."""

    model: Annotated[str, "directory or Hub id of the checkpoint, as given"]
    revision: Annotated[str | None, "Hub revision as given, or null"]
    commit: Annotated[
        str | None,
        "hash of the commit that the Hub id and revision meant at that time, or null for a local directory",
    ]
    series: Annotated[
        str,
        "name of the run the checkpoint belongs to: its parent folder's, or the model's own",
    ]
    architecture: Annotated[
        str, "id of what found the FFN's parts: the model's type, or the name of an architecture file"
    ]
    activation_function: Annotated[
        str | None,
        "sigma, as the model's config names it; where that does not, as it was found; null where neither",
    ]
    site_certificate: Annotated[
        dict[str, Any],
        "what was proved of the FFN's parts before the measurement: largest_difference (relative, between what "
        "passed by and what should), at how many sites, over how many tokens, in which dtype, and activation, the "
        "function that sigma was compared with, or null; side_paths: neurons of narrow networks that are not measured, "
        "by the name of each one's last matrix; experts: how many of the sites are experts, experts_compared: how many "
        "of these tokens came to",
    ]
    gated: Annotated[bool, "true where a = sigma(W_g x) * (W_u x)"]
    criterion: Annotated[str, "id of the rule that says which neurons contribute weakly"]
    compat: Annotated[
        str | None,
        "the released algorithm reproduced instead of this package's engine (sparsinglaw), or null; its "
        "errors are those at the knob found, and its thresholds were applied strictly (<)",
    ]
    rule: Annotated[
        str,
        "how the knob was chosen: fixed, ppl-increase, activation-ratio, series (one knob for a series of "
        "checkpoints), or thresholds (taken from another record)",
    ]
    knob: Annotated[float, "the criterion's number; for cett the CETT c, dimensionless"]
    knob_interval: Annotated[
        list[float] | None,
        "95 % interval of the knob found, by Student's t, or null at a fixed one",
    ]
    ppl_increase_target: Annotated[
        float | None,
        "p of PPL-p%, as a fraction (0.01 for 1 %), at thresholds the p they were set at on their own "
        "text; null where it was not searched for",
    ]
    activation_ratio_target: Annotated[float | None, "activation ratio the knob was searched for, or null"]
    activation_ratio: Annotated[
        float,
        "1 - |D|/F over valid tokens and layers, counted in the sparse run, 0 to 1",
    ]
    activation_ratio_se: Annotated[
        float,
        "standard error from replicates of the windows; at ppl-increase the noise of the knob found is in "
        "it, at fixed and series it is at the given knob",
    ]
    activation_ratio_interval: Annotated[
        list[float],
        "95 % interval of activation_ratio by Student's t, the noise of the knob found included",
    ]
    activation_ratio_per_layer: Annotated[
        list[float],
        "the same, layer by layer, input side first; each expert of a mixture is a layer here and "
        "wherever values stand layer by layer, over the tokens routed to it",
    ]
    activated_share: Annotated[
        float,
        "active neurons over all FFN neurons, those of experts a token was not routed to among them, 0 to "
        "1; activation_ratio where there are no experts",
    ]
    thresholds: Annotated[list[float], "threshold on the criterion's score, layer by layer, float32 values"]
    score_weights_sha256: Annotated[
        str | None,
        "hash of the .safetensors of this name, which holds weights of the score that were measured on "
        "the text (per-channel: mean |u_i|), or null",
    ]
    calibrated_on: Annotated[
        dict[str, str] | None,
        "at thresholds, content_key of the record they are of and text_sha256 of its text, else null",
    ]
    loss_dense_nats: Annotated[float, "mean loss per predicted token of the dense run, nats"]
    loss_sparse_nats: Annotated[float, "mean loss per predicted token of the sparse run, nats"]
    ppl_dense: Annotated[float, "exp(loss_dense_nats)"]
    ppl_sparse: Annotated[float, "exp(loss_sparse_nats)"]
    ppl_ratio: Annotated[float, "exp(loss_sparse_nats - loss_dense_nats)"]
    loss_delta_se_nats: Annotated[
        float,
        "standard error of loss_sparse_nats - loss_dense_nats, paired over windows, nats; at "
        "activation-ratio the noise of the knob found is in it",
    ]
    activation_ratio_se_with_knob: Annotated[
        float | None,
        "at series, the standard error of activation_ratio with the noise of the one knob in it, which moves all "
        "checkpoints of the run together; null elsewhere",
    ]
    activation_ratio_components: Annotated[
        list[float],
        "activation_ratio_se in parts, one for each difference between neighbouring units, or each block: their "
        "squares sum to its square (the scatter of a search aside), and the products with those of another record on "
        "the same text to the covariance",
    ]
    activation_ratio_components_with_knob: Annotated[
        list[float] | None, "the same of activation_ratio_se_with_knob; null where that is"
    ]
    loss_delta_components_nats: Annotated[list[float], "the same of loss_delta_se_nats, nats"]
    activation_ratio_slope: Annotated[
        float | None,
        "d activation_ratio / dx at the knob, x its logarithm (its logit where it is a share, signed so that more is "
        "dropped as x grows), or null where it is not known",
    ]
    stop_error_nats: Annotated[
        float,
        "standard error of the loss rise that decided where a search stops; where windows are not spread, by blocks "
        "drawn with replacement",
    ]
    error_units: Annotated[
        int,
        "parts of the text that errors come from: windows, of which replicates weigh each and the next differently, "
        "where they are spread; four blocks at a head and on a whole text",
    ]
    errors_at: Annotated[
        str,
        "what is held as the text varies: the knob found (its noise is in errors), the knob (thresholds are found "
        "anew), or the thresholds (as they are, so that the noise of finding them is not in errors)",
    ]
    flags: Annotated[
        list[str],
        "findings about this number: noisy (the standard error of the loss rise, times Student's t over "
        "the normal quantile, exceeds a quarter of the rise wanted), few_units (of fewer than 16 windows spread over "
        "a text), not_reached "
        "(no knob tried came to the target), off_target (the target is missed by more than 10 % of the "
        "rise or half its error, by more than 1 % of the activation ratio or of 1 - ratio), not_monotone "
        "(between two knobs tried, the loss falls where more is dropped, by more than chance gives between any two "
        "in one of 40 searches); at series those of the search for the one knob are among "
        "them, and fewer_checkpoints (some of the last ones, which it is found on, failed and have no "
        "part in it); untrained (the dense perplexity is above half the vocabulary); with compat: capped "
        "(a layer's grid ended before its CETT)",
    ]
    search: Annotated[
        list[list[float]],
        "every (knob, loss difference in nats, tokens) the search evaluated, in order",
    ]
    forward_passes: Annotated[float, "tokens passed through the model over tokens of the text"]
    zero_output_tokens: Annotated[
        list[int],
        "tokens whose dense FFN output is exactly zero, layer by layer (their CETT is 0)",
    ]
    nonzero_ratio: Annotated[float, "share of exactly non-zero activations in the dense run, 0 to 1"]
    tokens: Annotated[int, "valid tokens counted (BOS not among them)"]
    window: Annotated[int, "tokens of one window, without the BOS"]
    bos: Annotated[bool, "true where a BOS token stood in front of each window"]
    sample: Annotated[
        str,
        "where the windows lie: spread over a text that holds more, at its head, or the whole of it; records without "
        "this key are of a head or a whole text",
    ]
    errors_hold_for: Annotated[
        str,
        "what standard errors and intervals speak of: the corpus, where the windows are spread over it, else this "
        "text alone, of which another part may differ two or three times as much",
    ]
    text_source: Annotated[
        dict[str, Any] | None,
        "what the windows come from, or null for token ids given from Python: form; path and bytes (and bundled, its "
        "name, where it is the text that the package carries), or dataset, "
        "config, split and revision (hash of the commit) or fingerprint; column; packed, where documents are joined; "
        "and of documents how many there are (unless the head alone was read), how many the windows come from, the "
        "first, the last and the ranges of their numbers, counted from 0",
    ]
    trained_tokens: Annotated[int | None, "tokens the checkpoint was trained on, or null where unknown"]
    params_total: Annotated[int, "parameters, tied ones once"]
    params_nonembedding: Annotated[int, "parameters less the input and output embeddings"]
    hidden_size: Annotated[int, "d"]
    intermediate_size: Annotated[int, "F, FFN neurons of a layer"]
    layers: Annotated[int, "number of FFN layers, the experts of a mixture's layer as one"]
    width_depth_ratio: Annotated[float, "hidden_size / layers"]
    weights_sha256: Annotated[
        str | None,
        "hash of the config and the weights in the checkpoint's files, or null for a live model; equal "
        "checkpoints have it in common",
    ]
    unused_tensors: Annotated[
        dict[str, int],
        "tensors of those files that next-token losses do not need (masks, rotary frequencies, towers of "
        "other senses, heads for further tokens): how many of each name, numbers in names as *",
    ]
    unused_files: Annotated[list[str], "names of other weight files in the folder, which were not loaded"]
    weights_from: Annotated[
        dict[str, Any] | None,
        "what the weights were read from: format (safetensors, pickle, gguf or adapter), files, and stored, the share "
        "of tensors and of weights in each type; of a GGUF file also quantisation, the type of most weights, and "
        "hidden_act_from, which says who names sigma (metadata, option or family); of an adapter its kind, sha256 and "
        "merge_difference (relative, of the logits, between merged and not), and the same of its base with sha256; "
        "null for a live model; records without this key are of safetensors or GGUF",
    ]
    text_sha256: Annotated[str, "hash of the token ids measured on (little-endian int64)"]
    seed: Annotated[int, "seed of the bootstrap"]
    content_key: Annotated[str, "hash of all that determines the numbers; names the file"]
    provenance: Annotated[
        dict[str, Any],
        "versions, device, dtype with its reason, tokenizer (what tokenising lost or its files disagree "
        "about), command, time, git revision",
    ]
    record_sha256: Annotated[str, "hash of this record without this key"]


RECORD_KEYS: dict[str, str] = {
    key: annotation.__metadata__[0] for key, annotation in get_type_hints(Record, include_extras=True).items()
}
