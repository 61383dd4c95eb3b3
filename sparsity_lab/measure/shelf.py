"""Holds the one model that is loaded, its FFN sites proved, so that cells of one checkpoint share it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.measure.api import find_sites
from sparsity_lab.measure.loading import Source, load_model
from sparsity_lab.measure.sites import FfnSite
from sparsity_lab.measure.tokenizers import refuse_ids_beyond


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's model with its FFN sites, proved once.

    Attributes:
        source: which one.
        model: the causal LM.
        architecture: id of its architecture file.
        sites: its FFN sites.
    """

    source: Source
    model: Any
    architecture: str
    sites: list[FfnSite]


class Shelf:
    """One model at a time; the last one is freed before the next is read."""

    def __init__(self, architecture_file: Path | None = None) -> None:
        self.architecture_file = architecture_file
        self.held: Loaded | None = None

    def get(self, source: Source, *, dtype: torch.dtype, device: str, ids: torch.Tensor) -> Loaded:
        """The model of a checkpoint.

        Args:
            source: which one.
            dtype, device: as `load_model` takes them, the same for every call.
            ids: the token ids it is to read.

        Raises:
            SparsityLabError: weights or sites that cannot be used, or ids beyond the model's vocabulary.
        """
        if self.held is None or self.held.source != source:
            self.held = None
            model = load_model(source, dtype=dtype, device=device)
            architecture, sites = find_sites(model, architecture_file=self.architecture_file)
            self.held = Loaded(source, model, architecture, sites)
        refuse_strange_ids(self.held.model, ids, source=source)
        return self.held


def refuse_strange_ids(model: Any, ids: torch.Tensor, *, source: object) -> None:
    """Refuse token ids that the model does not know.

    Raises:
        SparsityLabError: an id beyond the vocabulary.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    refuse_ids_beyond(vocabulary, largest=int(ids.max()), source=source)
