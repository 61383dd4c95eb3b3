"""The activation function of a checkpoint whose files do not say it: a GGUF file's, named by the user or refused.

The metadata of most GGUF files do not hold it: llama.cpp has one function in the code of each family, and models of the
family with another were converted all the same. transformers takes the usual one of the family.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.weights.gguf_file import header_of

OPTION = "--hidden-act"
# By llama.cpp's names: families whose published models all have the one that transformers takes.
ONE_IN_USE = {
    "bloom": "gelu", "gemma2": "gelu_pytorch_tanh", "gemma3": "gelu_pytorch_tanh", "gemma4": "gelu_pytorch_tanh",
    "gpt-oss": "silu", "lfm2": "silu", "minimax-m2": "silu", "nemotron": "relu2", "qwen2moe": "silu",
    "qwen3": "silu", "qwen3moe": "silu", "starcoder2": "gelu_pytorch_tanh",
}  # fmt: skip
# The usual one, which transformers takes unasked, and models that have another.
SEVERAL_IN_USE = {
    "llama": ("silu", "ReluLLaMA, ProSparse and Bamboo have others"),
    "mistral": ("silu", "Bamboo and TurboSparse have others"),
    "qwen2": ("silu", "SparseQwen2 has another"),
    "falcon": ("gelu", "ReluFalcon has relu"),
    "gpt2": ("gelu_new", "Cerebras-GPT has gelu"),
}


def chosen_activation(path: Path, asked: str | None) -> str | None:
    """The activation function of a GGUF file by transformers' name; None for the one of its family.

    Args:
        path: the file.
        asked: as the user names it, or None.

    Raises:
        SparsityLabError: nobody says it where several are in use, it is said twice and differently, or not known.
    """
    header = header_of(path)
    if asked is not None and header.activation not in (None, asked):
        raise _conflict(path, header.activation, asked)
    chosen = header.activation or asked
    if chosen is not None:
        _refuse_unknown(chosen, path)
    elif header.family not in ONE_IN_USE:
        usual, others = SEVERAL_IN_USE.get(header.family, ("silu", None))
        known = f"{usual} is usual in the family {header.family}, but {others}"
        raise SparsityLabError(
            f"{path} does not say its activation function",
            why=f"Its metadata hold none; {known if others else f'those of the family {header.family} are not known'}",
            fix="Look it up in config.json of the model that it was made of, under hidden_act or activation_function, "
            f"and give it: {OPTION} {usual}",
        )
    return chosen


def is_usual(path: Path, activation: str) -> bool:
    """Whether it is the one that transformers takes for this family unasked."""
    family = header_of(path).family
    return activation == (ONE_IN_USE.get(family) or SEVERAL_IN_USE.get(family, ("", ""))[0])


def refuse_other(source: object, config: Any, *, named: str | None, asked: str | None) -> None:
    """Refuse an activation function that is not the one in a model's config.

    Args:
        source: the checkpoint, for messages.
        config: of the (text) model.
        named: as its config names it, or None.
        asked: as the user names it, or None.

    Raises:
        SparsityLabError: they differ, or the model has none to be chosen.
    """
    if asked is None or asked == named:
        return
    if named is None:
        raise SparsityLabError(
            f"The activation function of {source} cannot be chosen",
            why=f"Models of the type {config.model_type} have one, which no key of their configs names",
            fix=f"Leave {OPTION} out",
        )
    raise _conflict(source, named, asked)


def _conflict(source: object, named: str | None, asked: str) -> SparsityLabError:
    return SparsityLabError(
        f"{source} has the activation function {named} by its own files, and {OPTION} {asked} was given",
        why="The numbers would be those of another model",
        fix=f"Leave {OPTION} out; if its config is wrong, mend it in config.json",
    )


def _refuse_unknown(name: str, path: Path) -> None:
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise SparsityLabError(
            f"There is no activation function {name!r} for {path}",
            why="A gate that is not a function of one number, as FATReLU with its threshold or dReLU, needs a config",
            fix=f"Give {OPTION} one of {', '.join(sorted(ACT2FN))}; for others measure the model that it was made of",
        )
