"""The part of a report that shows which tokens of a text need many neurons, and in which layers.

It reads `token_heat.json`, whose keys are in `HEAT_KEYS`; `measure/token_heat.py` writes it. Counts are whole numbers:
the ratio of token t in layer l is active[t][l] / sizes[l].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.blocks import Facts, Fold, Prose, Section, TokenHeat, table
from sparsity_lab.fitting.page.cells import shown, whole
from sparsity_lab.fitting.page.collect import Contents

STEPS = 9  # colors of the scale
MAKE_ANEW = "Write it again with `sparsity-lab heat`"
HEAT_KEYS: dict[str, str] = {
    "model": "directory or Hub id of the model, as given",
    "revision": "Hub revision, or null",
    "text": "name of the text file",
    "criterion": "id of the rule whose thresholds were applied",
    "thresholds": "threshold on the criterion's score, layer by layer",
    "calibrated_on": "content_key of the record the thresholds are of and text_sha256 of its text, or null",
    "ppl_increase_target": "p of PPL-p% the thresholds were set at on their own text, or null",
    "knob": "the criterion's number, or null",
    "tokens": "the text, token by token, each as it reads; joined they are the text",
    "token_ids": "ids of the tokens",
    "sizes": "F, FFN neurons of each layer; of a mixture of experts, the most that one token comes to",
    "active": "neurons kept, token by token and layer by layer, counted in the sparse run",
    "activation_ratio": "all kept over all neurons, 0 to 1",
    "loss_sparse_nats": "loss of each token in the sparse run given those before it, nats; null for the first one "
    "where no BOS comes before it",
    "bos": "true where a BOS token stood before the text; it is not counted",
    "provenance": "versions, device, dtype with its reason, tokenizer (what tokenising lost or its files disagree "
    "about), command, time, git revision",
}
OF_MIXTURES: dict[str, str] = {  # these have besides
    "experts_per_token": "k, routed experts that a token goes to in each layer; 0 where it has none",
}


def section(contents: Contents) -> Section | None:
    """Every token heat map under the folder; None where there are none."""
    blocks: list[Any] = []
    for path, value in contents.named("token_heat.json"):
        try:
            data = checked(value, name=contents.relative(path))
        except SparsityLabError as error:
            contents.unread.append((path, error.what))
            continue
        blocks += [Prose((_words(data),)), TokenHeat(data), _table(data), Fold("Provenance", (_facts(data),))]
    return Section("Tokens", tuple(blocks)) if blocks else None


def checked(value: object, *, name: str) -> Mapping[str, Any]:
    """The contents of a token_heat.json.

    Raises:
        SparsityLabError: a key is missing, or lists are of different lengths; key and token are named.
    """
    missing = [key for key in HEAT_KEYS if not isinstance(value, Mapping) or key not in value]
    if not isinstance(value, Mapping) or missing:
        raise SparsityLabError(
            f"{name} is not a token_heat.json", why=f"It has no {missing[0]!r}", fix=MAKE_ANEW
        )
    tokens, sizes, active = value["tokens"], value["sizes"], value["active"]
    if not (tokens and sizes and len(tokens) == len(active) == len(value["loss_sparse_nats"])):
        raise SparsityLabError(
            f"{name}: tokens, active and loss_sparse_nats are not of one length", fix=MAKE_ANEW
        )
    for t, row in enumerate(active):
        if len(row) != len(sizes) or not all(map(_is_count, row, sizes)):
            raise SparsityLabError(
                f"{name}: active of token {t} is not a count for each of {len(sizes)} layers", fix=MAKE_ANEW
            )
    return value


def _is_count(kept: object, size: object) -> bool:
    return isinstance(kept, int) and isinstance(size, int) and 0 <= kept <= size and size > 0


def ratios(data: Mapping[str, Any]) -> list[list[float]]:
    """Activation ratio of each token in each layer."""
    return [[n / f for n, f in zip(row, data["sizes"], strict=True)] for row in data["active"]]


def means(data: Mapping[str, Any]) -> list[float]:
    """Activation ratio of each token over all layers, weighted by F."""
    whole_size = sum(data["sizes"])
    return [sum(row) / whole_size for row in data["active"]]


def step(value: float, low: float, high: float) -> int:
    """Which of the scale's colors a value has, 0 to STEPS - 1."""
    return min(max(int(STEPS * (value - low) / (high - low)), 0), STEPS - 1) if high > low else 0


def _words(data: Mapping[str, Any]) -> str:
    quality = data["ppl_increase_target"]
    at = f"PPL-{100 * quality:g}%" if quality is not None else f"knob {shown(data['knob'])}"
    return (
        f"**{shown(data['model'])}** over {len(data['tokens'])} tokens of {shown(data['text'])}, "
        f"{data['criterion']} thresholds of {at}: activation ratio {whole(data['activation_ratio'], 4)} of "
        f"{len(data['sizes'])} layers. {_experts(data)}"
        "Point at a token, or walk with the arrow keys, to see its layers."
    )


def _experts(data: Mapping[str, Any]) -> str:
    """What is shown of a mixture; nothing of other models."""
    chosen = sorted(set(data.get("experts_per_token", ())) - {0})
    if not chosen:
        return ""
    how_many = " or ".join(map(str, chosen))
    return (
        f"Of a layer with experts, the neurons of the {how_many} experts that a token goes to, and of shared ones, are "
        "counted and make the whole. "
    )


def _table(data: Mapping[str, Any]) -> Fold:
    by_layer = [f"layer {layer}" for layer in range(len(data["sizes"]))]
    rows = [
        {"position": t, "token": token, "all layers": mean, "loss (nats)": loss,
         **dict(zip(by_layer, row, strict=True))}
        for t, (token, mean, loss, row) in enumerate(
            zip(data["tokens"], means(data), data["loss_sparse_nats"], ratios(data), strict=True))
    ]  # fmt: skip
    every_token = table("Activation ratio by token and layer", rows, source="token_heat.json")
    return Fold("Every token as a table", (every_token,), badge=f"{len(rows)} rows")


def _facts(data: Mapping[str, Any]) -> Facts:
    keys: Sequence[str] = ("criterion", "knob", "thresholds", "calibrated_on", "bos", "provenance")
    pairs = [(key, shown(data[key])) for key in keys]
    return Facts(tuple(pairs))
