"""What one model on one text leaves on disk: a JSON file named by its content key, and arrays beside it.

The JSON holds every scalar with its standard error, as rows of the tables; a `.safetensors` of the same name holds
counts by neuron, by token id and by position. `NEURON_KEYS` documents every key, `ARRAYS` every array.
"""

from __future__ import annotations

from sparsity_lab.measure.neurons.counts import by_layer
from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.store.arrays import Kind, Sealed

NEURON_KEYS: dict[str, str] = {
    "model": "directory or Hub id of the checkpoint, as given",
    "revision": "Hub revision as given, or null",
    "commit": "hash of the commit that the Hub id and revision meant at that time, or null for a local directory",
    "series": "name of the run the checkpoint belongs to",
    "name": "how tables call the checkpoint",
    "text": "how tables call the text",
    "tokenizer": "hash of the tokenizer's files; models of one hash share their token ids",
    "criterion": "id of the rule whose thresholds were applied",
    "knob": "where they were set, or null",
    "ppl_increase_target": "p of PPL-p% where they were set so, or null",
    "thresholds": "on the criterion's score, layer by layer",
    "calibrated_on": "content_key of the record they are of and text_sha256 of its text",
    "activation_ratio": "active neurons over all, over valid tokens and layers, counted in the sparse run",
    "activation_ratio_se": "standard error, block bootstrap over groups of windows, as all errors here",
    "loss_sparse_nats": "mean loss per predicted token of the sparse run, nats",
    "layer_rows": "rows of neurons.csv, all layers first; see `columns.LAYER_COLUMNS`",
    "chunk_rows": "rows of chunks.csv: consecutive tokens, and first tokens of a window; see `columns.CHUNK_COLUMNS`",
    "parameter_rows": "rows of parameters.csv; see `columns.PARAMETER_COLUMNS`",
    "decode_rows": "rows of decode.csv; empty where nothing was written; see `columns.DECODE_COLUMNS`",
    "token_text": "text of each token id of the array token_ids",
    "architecture": "id of the architecture file that found the FFN's parts",
    "activation_function": "sigma, as the model's config names it",
    "gated": "true where a = sigma(W_g x) * (W_u x)",
    "params_total": "parameters, tied ones once",
    "params_nonembedding": "parameters less the input and output embeddings",
    "hidden_size": "d",
    "intermediate_size": "F of the first layer",
    "layers": "number of FFN layers",
    "width_depth_ratio": "hidden_size / layers",
    "tokens": "valid tokens counted (BOS not among them)",
    "window": "tokens of one window, without the BOS",
    "bos": "true where a BOS token stood in front of each window",
    "text_sha256": "hash of the token ids (little-endian int64)",
    "seed": "seed of the bootstrap and of what was written",
    "arrays_sha256": "hash of the .safetensors of this name",
    "content_key": "hash of all that determines the numbers; names the file",
    "provenance": "versions, device, dtype with its reason, tokenizer (what tokenising lost or its files disagree "
    "about), command, time, git revision",
    "record_sha256": "hash of this record without this key",
}
ARRAYS: dict[str, str] = {
    "sizes": "int64 [layers], F",
    "fired": "int64 [N], tokens each neuron fired on; layers side by side",
    "token_ids": "int64 [ids], token ids that occur, increasing",
    "token_count": "int64 [ids], their occurrences",
    "token_active": "int64 [layers, ids], neurons active on them",
    "token_ratio": "float64 [ids], activation ratio",
    "token_ratio_se": "float64 [ids], its standard error with windows as clusters; NaN from one window",
    "position_active": "int64 [layers, window], active neurons at each position, summed over windows",
    "position_ratio": "float64 [window], activation ratio",
    "position_ratio_se": "float64 [window], its standard error over windows",
}

KIND = Kind("neurons", folder="neuron_records", mark="layer_rows", keys=NEURON_KEYS, arrays=ARRAYS)


def frequencies(one: Sealed) -> list[Floats]:
    """Share of tokens each neuron of a record fires on, float64 [F] of each layer."""
    found: Floats = one.arrays["fired"] / one.body["tokens"]
    return by_layer(found, one.arrays["sizes"])
