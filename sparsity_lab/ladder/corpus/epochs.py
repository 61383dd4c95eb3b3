"""How often each run walks its corpus, known from the prepared tokens or estimated before there are any.

A corpus walked more often than allowed is a mistake: repeated text is learnt by heart. Before anything is
prepared, the documents are read and split as training will, a tokenizer is trained as it will be, and the
tokens a byte come from an even sample of the training part.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import LadderConfig, RunSpec
from sparsity_lab.ladder.corpus.corpus import held_out
from sparsity_lab.ladder.corpus.data import make_tokenizer
from sparsity_lab.ladder.corpus.prepared import existing_data
from sparsity_lab.ladder.corpus.sources import open_corpus
from sparsity_lab.tokenization import encoded_batch

logger = logging.getLogger(__name__)

SAMPLE_BYTES = 2_000_000
MARGIN = 0.05  # the sample's tokens a byte are good to a few percent


@dataclass(frozen=True)
class CorpusSize:
    """Tokens of the training part; `exact` where they are counted rather than estimated."""

    train_tokens: int
    exact: bool

    def epochs(self, run: RunSpec) -> float:
        """How often a run walks the training part."""
        window = run.training.window
        usable = self.train_tokens // window * window
        return run.training.trained_tokens / usable if usable else float("inf")


def corpus_size(config: LadderConfig, *, prepared: Path, replace: bool = False) -> CorpusSize:
    """The tokens a ladder has to train on; nothing is written.

    Args:
        config: the ladder.
        prepared: the folder `prepare_data` would write to; data that are there are counted.
        replace: as for `prepare_data`.

    Raises:
        SparsityLabError: the corpus cannot be read, or the folder holds data of another configuration.
    """
    prepared_data = existing_data(
        config.data, tokenizer=config.tokenizer, output=prepared, seed=config.seed, replace=replace
    )
    if prepared_data is not None:
        return CorpusSize(prepared_data.train_tokens, exact=True)
    corpus = open_corpus(config.data)
    share = config.data.validation_share
    kept = [
        text
        for text in corpus.documents(max_bytes=config.data.max_bytes)
        if not held_out(text, share=share, seed=config.seed)
    ]
    total = sum(len(text.encode()) for text in kept)
    tokenizer, _ = make_tokenizer(corpus, config.data, config.tokenizer, seed=config.seed)
    sample = kept[:: max(1, total // SAMPLE_BYTES)]
    tokens = sum(len(ids) + 1 for ids in encoded_batch(tokenizer, sample))
    sampled = sum(len(text.encode()) for text in sample)
    return CorpusSize(round(total * tokens / sampled) if sampled else 0, exact=False)


def refuse_repeats(run: RunSpec, size: CorpusSize, *, max_epochs: float) -> float:
    """How often a run walks the corpus; what is repeated within the limit is said.

    Raises:
        SparsityLabError: more often than allowed; of an estimate, beyond its own error.
    """
    epochs = size.epochs(run)
    about = "" if size.exact else "about "
    if epochs > max_epochs * (1.0 if size.exact else 1.0 + MARGIN):
        raise SparsityLabError(
            f"Run {run.name} asks for {run.training.trained_tokens:,} tokens, {about}{epochs:.2f} epochs of a "
            f"corpus of {about}{size.train_tokens:,}",
            why=f"max_epochs allows {max_epochs:g}",
            fix=f"Give more text (more files, or a larger max_bytes), train on fewer tokens, or set max_epochs: "
            f"{-(-epochs // 1):.0f} under data",
        )
    if not size.exact and epochs > max_epochs * (1.0 - MARGIN):
        logger.warning(
            "%s: about %.2f epochs, too near the %g allowed to tell before the text is tokenized",
            run.name, epochs, max_epochs,
        )  # fmt: skip
    elif epochs > 1:
        logger.info("%s: walks the corpus %.2f times, each time in another order", run.name, epochs)
    return epochs
