"""A model that somebody else holds: what is measured of it, and how it is left as it was found.

It is read as it would be saved: its own weights in their own dtype, in evaluation mode, without the autocast that a
trainer may have wrapped around its forward and without compiled code, which would not call hooks.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import answer_by_name

SHARDING = (
    "torch.distributed.fsdp.FullyShardedDataParallel", "torch.distributed.fsdp.FSDPModule",
    "deepspeed.runtime.engine.DeepSpeedEngine", "deepspeed.runtime.pipe.module.PipelineModule",
)  # fmt: skip
SHARDED = "torch.distributed.tensor.DTensor"
WRAPPED_FIX = "Give the transformers model itself"
_LOAD_FIX = (
    f"{WRAPPED_FIX}: AutoModelForCausalLM.from_pretrained(...); or run `sparsity-lab measure`, which takes folders and "
    "Hub ids"
)


def plain(model: Any) -> Any:
    """The transformers model itself, taken out of torch.compile, DataParallel and DistributedDataParallel.

    Raises:
        SparsityLabError: another wrapper, an adapter that is not merged, or weights that are not all here.
    """
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):
            model = model._orig_mod
        else:
            break
    _refuse_adapters(model)
    _refuse_sharded(model)
    _refuse_other_classes(model)
    return model


@contextmanager
def evaluating(model: Any) -> Iterator[Any]:
    """The plain model in evaluation mode, uncompiled, its forward its own; flags and wrapper are put back at the end.

    Raises:
        SparsityLabError: as `plain`.
    """
    model = plain(model)
    modes = [(module, module.training) for module in model.modules()]
    wrapper = model.__dict__.get("forward")
    answering: list[Any] = []
    try:
        if "_original_forward" in model.__dict__:  # where accelerate keeps what it wrapped
            model.forward = model._original_forward
        answering = answer_by_name(model)
        model.eval()
        with torch.compiler.set_stance("force_eager"):
            yield model
    finally:
        for module, training in modes:
            module.training = training
        for config in answering:
            config.return_dict = False
        if wrapper is not None:
            model.forward = wrapper


@contextmanager
def undisturbed(model: Any) -> Iterator[Any]:
    """`evaluating` without gradients and autocast; random states are put back as well.

    Raises:
        SparsityLabError: as `plain`.
    """
    states = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad(), evaluating(model) as itself:
            device = itself.get_input_embeddings().weight.device.type
            with torch.autocast(device, enabled=False):
                yield itself
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _refuse_adapters(model: Any) -> None:
    """Refuse a PEFT model, and layers of an adapter that is at work and not merged into the weights."""
    merge = "Give model.merge_and_unload() for the model with its adapter"
    if callable(getattr(model, "get_base_model", None)) and hasattr(model, "peft_config"):
        raise SparsityLabError(
            f"{type(model).__name__} is a model wrapped by PEFT",
            why="Whether its adapter is meant is not certain",
            fix=f"{merge}, or model.get_base_model() inside `with model.disable_adapter()` for the one without",
        )
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        is_layer = hasattr(module, "base_layer") and hasattr(module, "active_adapters")
        if (
            is_layer
            and not getattr(module, "disable_adapters", False)
            and not getattr(module, "merged", False)
        ):
            raise SparsityLabError(
                f"{type(model).__name__} has an adapter of PEFT that is not merged into its weights, in {name}",
                why="The weights alone are not what the model computes with",
                fix=f"{merge}, or measure inside `with model.disable_adapter()` for the one without",
            )


def _refuse_sharded(model: Any) -> None:
    """Refuse weights that are spread over processes, or offloaded."""
    sharding, tensors = extras.loaded_classes(*SHARDING), extras.loaded_classes(SHARDED)
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, sharding):
            raise SparsityLabError(
                f"{type(model).__name__} is sharded by FSDP or DeepSpeed, in {name or 'itself'}",
                why="A forward pass takes all processes, and only one measures",
                fix="Save the whole model and measure its checkpoint with `sparsity-lab measure`",
            )
    for name, weight in model.named_parameters() if isinstance(model, nn.Module) else ():
        if weight.is_meta or isinstance(weight.data, tensors) or hasattr(weight, "ds_id"):
            raise SparsityLabError(
                f"The weight {name} of {type(model).__name__} is not on this process's device",
                why="It is sharded, offloaded, or was never loaded",
                fix="Load the model whole, or measure its checkpoint with `sparsity-lab measure`",
            )


def _refuse_other_classes(model: Any) -> None:
    if hasattr(getattr(model, "config", None), "get_text_config") and hasattr(model, "get_input_embeddings"):
        return
    inside = [
        name
        for name, child in (model.named_children() if isinstance(model, nn.Module) else ())
        if hasattr(child, "get_input_embeddings")
    ]
    named = isinstance(model, (str, os.PathLike))
    raise SparsityLabError(
        f"{type(model).__name__} is not a causal language model of transformers",
        fix=f"{WRAPPED_FIX}: model.{inside[0]}" if inside else _LOAD_FIX if named else WRAPPED_FIX,
    )
