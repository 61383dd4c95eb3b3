"""What a GGUF file says: family, quantization, activation function, and which of its tensors transformers reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparsity_lab.measure.checkpoint.weights.stored import GGUF, shares

EXPERTS = "_exps."  # of a mixture: merged into the model's own tensors under other names
ACTIVATION = "hidden_activation"  # the key by which llama.cpp says it, in the files that say it


@dataclass(frozen=True)
class GgufFile:
    """What the header of a GGUF file says.

    Attributes:
        family: llama.cpp's name of the architecture.
        activation: the activation function, where the metadata hold one.
        tensors: type and number of weights of each tensor, by its name.
    """

    family: str
    activation: str | None
    tensors: dict[str, tuple[str, int]]

    def read_from(self, path: Path) -> dict[str, Any]:
        """What a record says of it as the place that weights were read from."""
        stored = shares(self.tensors)
        return {
            "format": GGUF,
            "files": [path.name],
            "stored": stored,
            "quantisation": next(iter(stored), None),
        }


def header_of(path: Path) -> GgufFile:
    """What the header of a GGUF file says; looked at once, for that takes seconds where a vocabulary is large.

    Raises:
        Exception: whatever gguf raises of a file that is broken.
    """
    state = path.stat()
    return _header(path.resolve(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _header(path: Path, _size: int, _changed: int) -> GgufFile:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    family = str(reader.fields["general.architecture"].contents())
    said = reader.fields.get(f"{family}.{ACTIVATION}")
    return GgufFile(
        family,
        None if said is None else str(said.contents()),
        {tensor.name: (tensor.tensor_type.name, int(tensor.n_elements)) for tensor in reader.tensors},
    )


def unread(path: Path, model: Any) -> list[str]:
    """Names of the file's tensors that no tensor of the model is made from.

    Among them may be `rope_freqs.weight`, by which llama.cpp scales rotary frequencies: without it, the model's
    positions are others.

    Args:
        path: the file.
        model: as transformers loaded it.
    """
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    header = header_of(path)
    processor = TENSOR_PROCESSORS.get(header.family, TensorProcessor)(config={})
    read = {*get_gguf_hf_weights_map(model, processor), "output.weight"}
    return sorted(name for name in header.tensors if name not in read and EXPERTS not in name)
