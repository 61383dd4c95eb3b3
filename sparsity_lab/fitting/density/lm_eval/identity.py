"""Which model, under which settings, a result of lm-eval is about, and the shortest names that tell results apart.

Everything that a result says of its model is part of its identity unless it is known not to change a score:
an argument of lm-eval that nobody here has heard of makes another model.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Where and how fast a model runs, and what is needed to load it; none of them is another model.
NOT_THE_MODEL = frozenset({
    "parallelize", "device", "device_map", "device_map_option", "max_memory_per_gpu", "max_cpu_memory",
    "offload_folder", "batch_size", "max_batch_size", "trust_remote_code", "token", "use_auth_token",
    "cache_dir", "low_cpu_mem_usage", "tensor_parallel_size", "data_parallel_size",
    "pipeline_parallel_size", "gpu_memory_utilization", "gpus", "num_concurrent", "max_retries", "timeout",
    "swap_space", "enforce_eager", "disable_log_stats", "num_workers", "verify_certificate", "progress_bar",
    "download_dir", "autogptq_use_triton", "think_end_token", "logits_cache", "auth_token", "api_key",
    "ca_cert_path", "header",
})  # fmt: skip
# Off unless asked for: false is the same as not given. Any other argument that is false may be on by default.
OFF_BY_DEFAULT = frozenset({
    "load_in_4bit", "load_in_8bit", "autogptq", "gptqmodel", "parallelize", "trust_remote_code", "truncation",
    "truncate", "enable_lora",
})  # fmt: skip
NAMES = ("pretrained", "model", "path", "engine")
ADAPTERS = ("peft", "lora_local_path", "delta")
PACKED = frozenset({"autogptq", "gptqmodel", "quantization", "quantization_config"})
QUANTISED = frozenset({"load_in_4bit", "load_in_8bit", "gguf_file", *PACKED})
ALWAYS_SHOWN = (*ADAPTERS, *sorted(QUANTISED))
HF = frozenset({"hf", "hf-auto", "hf-causal", "hf-causal-experimental", "huggingface", "HFLM"})
MAIN = "main"
COMMIT, COMMIT_SHOWN = 40, 8
# A label gains these first, in this order; any other argument comes between them and the commit.
FIRST, LAST = ("revision", *ALWAYS_SHOWN, "shots", "dtype", "backend"), ("pretrained", "sha", "record")


@dataclass(frozen=True)
class Identity:
    """One model under one setting: its full `name`, and all else that makes it another, sorted by key."""

    name: str
    parts: tuple[tuple[str, str], ...] = ()

    def get(self, key: str) -> str:
        """One part, or an empty text."""
        return dict(self.parts).get(key, "")

    def also(self, key: str, text: str) -> Identity:
        """This identity with one part more; the same without a text."""
        return Identity(self.name, tuple(sorted((*self.parts, (key, text))))) if text else self

    @property
    def adapters(self) -> tuple[str, ...]:
        """Keys of adapters and weight deltas."""
        return tuple(key for key in ADAPTERS if self.get(key))

    @property
    def quantised(self) -> tuple[str, ...]:
        """Keys of arguments that quantize the weights."""
        return tuple(key for key, _ in self.parts if key in QUANTISED)

    @property
    def text(self) -> str:
        """Everything, in one line."""
        return ", ".join([self.name, *(f"{key}={value}" for key, value in self.parts)])


def identity_of(document: Mapping[str, Any], *, fallback: str) -> Identity:
    """The identity of a result of lm-eval.

    Args:
        document: the whole of a `results_*.json`.
        fallback: the name of a model that the document does not name.
    """
    config = section(document, "config")
    arguments = model_arguments(config)
    stated = next((arguments[key] for key in NAMES if arguments.get(key)), "")
    name = str(document.get("model_name") or stated or fallback)
    # lm-eval calls a model by its adapter where there is one.
    if stated and name in [arguments.get(key) for key in ADAPTERS]:
        name = stated
    parts = _arguments(arguments, name=name) | _config(config, arguments) | _setting(document, config)
    clean = normal_path(name)
    return Identity(clean, tuple(sorted((key, text) for key, text in parts.items() if text)))


def model_arguments(config: Mapping[str, Any]) -> dict[str, str]:
    """lm-eval's `model_args`, a mapping or `a=b,c=d`, as texts; what is none, empty or off by default is left out."""
    given: Mapping[str, Any] = section(config, "model_args")
    if not given:
        parts = _split(str(config.get("model_args") or ""))
        given = dict(part.split("=", 1) for part in parts if "=" in part)
    texts = {str(key).strip(): _argument(value) for key, value in given.items()}
    return {
        key: text
        for key, text in texts.items()
        if text not in ("", "none", "null") and not (text == "false" and key in OFF_BY_DEFAULT)
    }


def _split(text: str) -> list[str]:
    """`a=b` each: parts between commas outside quotes and brackets; a part without `=` belongs to the one before."""
    ends = [*_commas_outside(text), len(text)]
    parts: list[str] = []
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        piece = text[start:end]
        if parts and "=" not in piece:
            parts[-1] += f",{piece}" if piece.strip() else ""
        else:
            parts.append(piece)
    return parts


def _commas_outside(text: str) -> list[int]:
    """Where commas are outside of quotes and brackets; all commas where one of those does not end."""
    commas, depth, quote = [], 0, ""
    for place, character in enumerate(text):
        if character in "\"'" and quote in ("", character):
            quote = "" if quote else character
        if not quote:
            depth += (character in "([{") - (character in ")]}")
            commas += [place] if character == "," and not depth else []
    return [n for n, c in enumerate(text) if c == ","] if quote or depth else commas


def _argument(value: object) -> str:
    """An argument's text; words for true, false and nothing in lower case, as a mapping has them."""
    text = json.dumps(value) if isinstance(value, bool) else _text(value).strip()
    return text.casefold() if text.casefold() in ("true", "false", "none", "null") else text


def labels(identities: Sequence[Identity]) -> dict[Identity, str]:
    """The shortest names that tell identities apart: as much of the path as it takes, then what else differs."""
    different = list(dict.fromkeys(identities))
    paths = _short_paths({identity.name for identity in different})
    by_name: dict[str, list[Identity]] = {}
    for identity in different:
        by_name.setdefault(identity.name, []).append(identity)
    short = {
        identity: _label(paths[name], identity, shown=_telling(members))
        for name, members in by_name.items()
        for identity in members
    }
    texts = list(short.values())
    return {i: label if texts.count(label) == 1 else i.text for i, label in short.items()}


def _telling(members: Sequence[Identity]) -> tuple[str, ...]:
    """The keys that tell the members of one name apart, few of them."""
    keys = {key for member in members for key, _ in member.parts}
    ordered = [key for key in FIRST if key in keys]
    ordered += [*sorted(keys - {*FIRST, *LAST}), *(key for key in LAST if key in keys)]
    shown = [key for key in ordered if key in ALWAYS_SHOWN or key == "thresholds"]
    for key in ordered:
        if key not in shown and _kinds(members, [*shown, key]) > _kinds(members, shown):
            shown.append(key)
    return tuple(key for key in ordered if key in shown)


def _kinds(members: Sequence[Identity], keys: Sequence[str]) -> int:
    return len({tuple(member.get(key) for key in keys) for member in members})


def _label(path: str, identity: Identity, *, shown: Sequence[str]) -> str:
    for key, length in (("revision", None), ("sha", COMMIT_SHOWN)):
        path += f"@{identity.get(key)[:length]}" if key in shown and identity.get(key) else ""
    others = [_said(key, text) for key, text in identity.parts
              if key in shown and key not in ("revision", "sha", "thresholds")]  # fmt: skip
    thresholds = f" at {identity.get('thresholds')}" if identity.get("thresholds") else ""
    return path + thresholds + (f" ({', '.join(others)})" if others else "")


def _said(key: str, text: str) -> str:
    if key == "shots":
        return f"{text}-shot"
    if len(text) >= COMMIT and set(text) <= set("0123456789abcdef"):
        text = text[:COMMIT_SHOWN]
    return key if text.casefold() == "true" else f"{key}={text}"


def _short_paths(names: set[str]) -> dict[str, str]:
    """The last folders of each path, as many as no other path ends with."""
    pieces = {name: name.strip("/").split("/") for name in names}
    short = {}
    for name, folders in pieces.items():
        others = [other for key, other in pieces.items() if key != name]
        enough = (n for n in range(1, len(folders)) if all(o[-n:] != folders[-n:] for o in others))
        count = next(enough, len(folders))
        short[name] = "/".join(folders[-count:]) if count < len(folders) else name
    return short


def _arguments(arguments: Mapping[str, str], *, name: str) -> dict[str, str]:
    return {
        key: text
        for key, text in arguments.items()
        if key not in NOT_THE_MODEL | {"revision", "dtype"}
        and not (key in NAMES and normal_path(text) == normal_path(name))
    }


def _config(config: Mapping[str, Any], arguments: Mapping[str, str]) -> dict[str, str]:
    revision = arguments.get("revision") or _text(config.get("model_revision"))
    dtype = _text(config.get("model_dtype")) or arguments.get("dtype", "")
    sha = _text(config.get("model_sha"))
    return {
        "revision": "" if revision in (MAIN, sha) else revision,
        "sha": sha,
        "peft_sha": _text(config.get("peft_sha")),
        "delta_sha": _text(config.get("delta_sha")),
        "dtype": "" if dtype == "auto" else dtype.removeprefix("torch."),
        "limit": _text(config.get("limit")),
        "gen_kwargs": _text(config.get("gen_kwargs")),
    }


def _setting(document: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The program that ran the model, the prompt's form, and the thresholds of our own `eval`."""
    backend = _text(document.get("model_source")) or _text(config.get("model"))
    note = section(document, "sparsity_lab")
    sha = {key: _text(document.get(f"{key}_sha")) for key in ("chat_template", "system_instruction")}
    given = {key: sha[key] or _text(document.get(key)) for key in sha}
    return {
        "backend": "" if backend in HF else backend,
        **{key: text[:COMMIT_SHOWN] for key, text in given.items()},
        "fewshot_as_multiturn": "true" if document.get("fewshot_as_multiturn") is True else "",
        "thresholds": _text(note.get("setting")),
        "record": _text(note.get("content_key")) if note.get("setting") else "",
    }


def _text(value: object) -> str:
    """A value as a text; nothing, false and empty containers are empty."""
    if value is None or value is False or value == {} or value == []:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def normal_path(name: str) -> str:
    """A model's path in one spelling: `./a//m/` is `a/m`; addresses stay."""
    return name if "://" in name else posixpath.normpath(name.strip() or ".")


def section(document: object, *keys: str) -> Mapping[str, Any]:
    """A mapping within a document, by the keys that lead to it; empty where the document has no such thing."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}
