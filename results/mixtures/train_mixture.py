"""Trains a small mixture of experts on one text, with transformers' own classes: Mixtral, or Qwen2-MoE.

    python results/mixtures/train_mixture.py TEXT FOLDER [mixtral|qwen2_moe] [STEPS]

A byte-level BPE tokenizer of 1,024 tokens is made from the text; the last tenth of the text is left out of training.
"""

import logging
import sys
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForCausalLM,
    MixtralConfig,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
)

VOCABULARY, WINDOW, BATCH = 1024, 128, 16
PEAK_RATE, WARM_STEPS, SEED = 2e-3, 50, 0

COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 0,
    "num_experts_per_tok": 2, "router_aux_loss_coef": 0.01, "output_router_logits": True,
}  # fmt: skip
CONFIGS = {
    "mixtral": lambda: MixtralConfig(**COMMON, intermediate_size=256, num_local_experts=8, sliding_window=None),
    "qwen2_moe": lambda: Qwen2MoeConfig(
        **COMMON, intermediate_size=512, num_experts=8, moe_intermediate_size=192, norm_topk_prob=True,
        shared_expert_intermediate_size=192, mlp_only_layers=[0],
    ),
}  # fmt: skip


def tokenizer_of(text: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer made from the text."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([text], vocab_size=VOCABULARY, special_tokens=["<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="<s>")


def main(text_file: str, folder: str, family: str = "mixtral", steps: str = "900") -> None:
    """Train, saying the loss every 100 steps, and save model and tokenizer."""
    text = Path(text_file).read_text(encoding="utf-8")
    tokenizer = tokenizer_of(text)
    ids = torch.tensor(tokenizer(text[: len(text) * 9 // 10])["input_ids"])
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]())
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    total = int(steps)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_STEPS, 1 - 0.9 * step / total)
    )
    for step in range(total):
        starts = torch.randint(len(ids) - WINDOW, (BATCH,))
        batch = torch.stack([ids[start : start + WINDOW] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rates.step()
        if step % 100 == 0:
            logging.info("step %d: loss %.3f nats, load balancing in it", step, loss.item())
    model.config.output_router_logits = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:])
