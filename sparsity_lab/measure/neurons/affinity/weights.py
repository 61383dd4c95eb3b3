"""Weights of a model by how decoding reads them, from its config alone: the model is built without memory.

neurons        W_g, W_u, W_d: which of them are read depends on what is active
whole          the output head, attention, norms, biases: all of them for every pass
rows           an embedding table: one row a token (a table that is the output head too is read whole as well)
KV cache       keys and values of every token of the context, as the model's own cache keeps them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.loading import load_config
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.neurons.parameters import Widths


@dataclass(frozen=True)
class Weights:
    """Counts of weights, and of entries of the KV cache.

    Attributes:
        input_side: rows of W_g and W_u of all neurons.
        output_side: columns of W_d of all neurons.
        whole: read for every pass whatever is active, the output head among them.
        head: the output head's, a part of `whole`.
        row: of embedding tables, read for one token.
        kv: keys and values of one token of context.
        total: parameters, tied ones once.
    """

    input_side: int
    output_side: int
    whole: int
    head: int
    row: int
    kv: int
    total: int

    @property
    def ffn(self) -> int:
        """Weights of all neurons."""
        return self.input_side + self.output_side


def weights_of(model: Any, sites: Sequence[FfnSite]) -> Weights:
    """The weights of a causal LM, on any device, memory or none.

    Args:
        model: a transformers causal LM without experts.
        sites: its FFN sites.
    """
    sizes = {id(p): p.numel() for p in model.parameters()}
    widths = Widths.of(sites, params_total=sum(sizes.values()))
    tables = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    output = model.get_output_embeddings()
    head = 0 if output is None else output.weight.numel()
    looked_up = [table for key, table in tables.items() if output is None or key != id(output.weight)]
    return Weights(
        input_side=int((widths.input_side * widths.sizes).sum()),
        output_side=int((widths.output_side * widths.sizes).sum()),
        whole=widths.params_total - widths.ffn - sum(table.numel() for table in looked_up),
        head=head,
        row=sum(int(table.shape[1]) for table in tables.values()),
        kv=_cache_entries(model),
        total=widths.params_total,
    )


def weights_at(source: Source, *, body: Mapping[str, Any], architecture_file: Path | None = None) -> Weights:
    """The weights of a record's model, read from its config.

    Args:
        source: where the model lies.
        body: the record of `neurons` it is to fit.
        architecture_file: a file of the user's own for its family, executed.

    Raises:
        SparsityLabError: no config there, or one of another model than the record's.
    """
    from transformers import AutoModelForCausalLM

    try:
        config = load_config(source, architecture_file=architecture_file)
    except SparsityLabError as error:
        raise SparsityLabError(
            f"The config of {body['name']} cannot be read: {error.what}",
            why=error.why or "Weights outside the FFN are counted from it",
            fix="Name the model's place with --model" if architecture_file is None else error.fix,
        ) from error
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
    _, architecture = architectures.find(config, file=architecture_file)
    weights = weights_of(model, list(architecture.sites(model)))
    recorded = body["parameter_rows"][0]
    for what, ours, theirs in (
        ("parameters", weights.total, recorded["model_dense"]), ("FFN weights", weights.ffn, recorded["ffn_dense"]),
    ):  # fmt: skip
        if ours != theirs:
            raise SparsityLabError(
                f"{source} has {ours:,} {what}, the record of {body['name']} speaks of {theirs:,}",
                why="The record is of another model",
                fix="Name the record's own model with --model",
            )
    return weights


@torch.no_grad()
def _cache_entries(model: Any) -> int:
    """Keys and values that the model's own cache keeps of one token."""
    device = model.get_input_embeddings().weight.device
    output = model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=device), use_cache=True)
    cache = output.past_key_values
    return sum(int(layer.keys.numel() + layer.values.numel()) for layer in cache.layers)
