"""Which tensors of a GGUF file transformers gives to the model; it is silent on the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXPERTS = "_exps."  # of a mixture: merged into the model's own tensors under other names


def unread(path: Path, model: Any) -> list[str]:
    """Names of the file's tensors that no tensor of the model is made from.

    Among them may be `rope_freqs.weight`, by which llama.cpp scales rotary frequencies: without it, the model's
    positions are others.

    Args:
        path: the file.
        model: as transformers loaded it.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    reader = GGUFReader(path)
    family = str(reader.fields["general.architecture"].contents())
    processor = TENSOR_PROCESSORS.get(family, TensorProcessor)(config={})
    read = {*get_gguf_hf_weights_map(model, processor), "output.weight"}
    return sorted(
        tensor.name for tensor in reader.tensors if tensor.name not in read and EXPERTS not in tensor.name
    )
