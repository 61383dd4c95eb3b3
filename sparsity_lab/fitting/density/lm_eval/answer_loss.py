"""The conditional loss of the gold answer, from lm-eval's logged samples.

L = -ln p(answer | question), per answer token in nats and per answer byte in bits (the loss of the Densing
Law, arXiv 2412.04315, and of the OLMo ladder, arXiv 2412.04403). lm-eval logs log-likelihoods as strings
and no token counts, so continuations are tokenized again, the way it does: question and answer together,
less the question alone. Bytes are those of the answer without the blank that joins it to the question.
"""

from __future__ import annotations

import ast
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.reading.json_file import read_json_lines
from sparsity_lab.tokenization import disturbances, encoded, plain, read_tokenizer

log = logging.getLogger(__name__)

LOG_AGAIN = "Run lm-eval 0.4 again with --log_samples, or move the file away"
CountTokens = Callable[[str, str], int]


class NoGoldAnswerError(SparsityLabError):
    """A sample that is read well and does not tell the loss of its gold answer."""


@dataclass(frozen=True)
class AnswerLoss:
    """Mean over documents with its standard error; nats per token are None without a tokenizer."""

    documents: int
    bits_per_byte: float
    bits_per_byte_se: float
    nats_per_token: float | None
    nats_per_token_se: float | None


def answer_loss(
    samples: Path, *, count_tokens: CountTokens | None = None, notes: Notes | None = None
) -> AnswerLoss | None:
    """The loss of one task's samples, or None where they do not tell it.

    Args:
        samples: a `samples_TASK_DATE.jsonl` of lm-eval.
        count_tokens: tokens of an answer given (question, answer).
        notes: takes why there is no loss, where the task has log-likelihoods.

    Raises:
        SparsityLabError: unreadable, or a line that is not a sample.
    """
    try:
        return _mean_loss(samples, count_tokens)
    except NoGoldAnswerError as error:
        (Notes() if notes is None else notes).add(f"no losses from {samples.name}: {error.what}")
        return None


def _mean_loss(samples: Path, count_tokens: CountTokens | None) -> AnswerLoss | None:
    per_byte, per_token, uncounted = [], [], 0
    for where, sample in read_json_lines(samples, kind="samples", fix=LOG_AGAIN):
        gold = gold_answer(sample, where=where)
        if gold is None:
            return None
        question, answer, log_likelihood = gold
        if not (length := len(answer.removeprefix(" ").encode())):
            raise SparsityLabError(
                f"The gold answer of {where} is empty",
                why="It has no loss per byte",
                fix="Leave this document out of the task, or move the file away",
            )
        per_byte.append(-log_likelihood / (math.log(2) * length))
        tokens = 0 if count_tokens is None else count_tokens(question, answer)
        if tokens > 0:
            per_token.append(-log_likelihood / tokens)
        elif count_tokens is not None:
            uncounted += 1
    if uncounted:
        per_token = []
        log.warning(
            "%s: %d of %d answers have no token of their own in the model's tokenizer.json, which is then not the one "
            "they were evaluated with: nats per token are left out",
            samples, uncounted, len(per_byte),
        )  # fmt: skip
    if not per_byte:
        raise SparsityLabError(f"{samples} holds no samples", fix=LOG_AGAIN)
    return AnswerLoss(len(per_byte), *_mean(per_byte), *(_mean(per_token) if per_token else (None, None)))


def gold_answer(sample: Mapping[str, Any], *, where: str) -> tuple[str, str, float] | None:
    """Question, gold answer and its log-likelihood in nats; None where there is no log-likelihood.

    Raises:
        NoGoldAnswerError: which answer is right, or how likely it is, is not recorded.
        SparsityLabError: the sample has another shape.
    """
    with _shaped(where):
        pairs = _pairs(sample)
        if isinstance(pairs[0][1], dict):
            return None  # generated answers come with a dict of generation settings
        gold = _gold_index(sample, pairs) if len(pairs) > 1 else 0
        if gold is None or not 0 <= gold < len(pairs):
            raise NoGoldAnswerError(f"which answer of {where} is right is not recorded")
        log_likelihood = float(sample["filtered_resps"][gold][0])
        if not math.isfinite(log_likelihood):
            raise NoGoldAnswerError(f"the log-likelihood of {where} is {log_likelihood}")
        return str(pairs[gold][0]), str(pairs[gold][1]), log_likelihood


def choices_in(samples: Path) -> list[int]:
    """How many answers each logged sample could choose among; empty where they were generated.

    Raises:
        SparsityLabError: unreadable.
    """
    counts = []
    for where, sample in read_json_lines(samples, kind="samples", fix=LOG_AGAIN):
        with _shaped(where):
            # acc_mutual_info asks for every answer a second time, without the question.
            asked = [question for question, answer in _pairs(sample) if isinstance(answer, str) and question]
            counts += [len(asked)] if asked else []
    return counts


@contextmanager
def _shaped(where: str) -> Iterator[None]:
    """Whatever goes wrong inside is the fault of a sample that has another shape than lm-eval's."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SparsityLabError(
            f"{where} is not a logged sample of lm-eval with log-likelihoods",
            why=f"{type(error).__name__}: {error}"[:300],
            fix=LOG_AGAIN,
        ) from error


def _pairs(sample: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """The arguments of each request: question and answer, or question and settings of the generation."""
    arguments = sample["arguments"]
    requests = list(arguments.values()) if isinstance(arguments, dict) else list(arguments)
    return [(r["arg_0"], r["arg_1"]) if isinstance(r, dict) else (r[0], r[1]) for r in requests]


def tokenizer_of(folder: Path) -> CountTokens | None:
    """A token counter from a model directory's `tokenizer.json`, or None where there is none, or nothing to read it.

    Raises:
        SparsityLabError: the file is there and cannot be read.
    """
    path = folder / "tokenizer.json"
    if path.is_file() and not extras.is_installed("tokenizers"):
        log.warning(
            "%s is not read, so the losses of its model's answers are known in bits per byte alone: the package "
            "tokenizers is not installed. To install it: %s", path, extras.install_command("measure"),
        )  # fmt: skip
        return None
    tokenizer = read_tokenizer(folder)
    if tokenizer is None:
        return None
    if off := disturbances(tokenizer):
        log.warning("%s asks for %s: switched off", path, " and ".join(off))
    exact = plain(tokenizer)

    def tokens(text: str) -> int:
        return len(encoded(exact, text).ids)

    def count(question: str, answer: str) -> int:
        # lm-eval moves blanks at the question's end to the answer before it tokenizes.
        kept = question.rstrip()
        return tokens(question + answer) - tokens(kept)

    return count


def _gold_index(sample: Mapping[str, Any], pairs: Sequence[tuple[Any, Any]]) -> int | None:
    """Which answer is right: by its number, by its text, or by lm-eval's verdict on one of two."""
    text = _first(sample["target"]).strip()
    if text.lstrip("-").isdecimal():
        return int(text)
    listed = sample["doc"].get("choices")
    listed = listed["text"] if isinstance(listed, dict) else listed
    for answers in (listed or [], [answer for _, answer in pairs]):
        places = [place for place, answer in enumerate(answers) if str(answer).strip() == text]
        if len(places) == 1:
            return places[0]
    return _by_verdict(sample) if len(pairs) == 2 else None


def _first(target: object) -> str:
    """The target, or the first of several; lm-eval writes lists as Python does."""
    if isinstance(target, str) and target.strip().startswith("["):
        try:
            target = ast.literal_eval(target.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return str(target)
    return str(target[0] if isinstance(target, list) and target else target)


def _by_verdict(sample: Mapping[str, Any]) -> int | None:
    """The right one of two answers: the likelier one if that was right, as where only the questions differ."""
    if sample.get("acc") not in (0, 1):
        return None
    first, second = (float(response[0]) for response in sample["filtered_resps"])
    return int(second > first) if sample["acc"] == 1 else int(second <= first)


def _mean(values: list[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), spread / math.sqrt(len(values))
