"""Tiny language models with random weights: what tests run, and what `causal-lm` is untrained.

Both families of the models that medicine uses: BLOOM with a byte-level tokenizer, Llama with one like sentencepiece's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, BloomConfig, LlamaConfig, PreTrainedTokenizerFast

Family = Literal["bloom", "llama"]
_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>")
_NAMES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
_TEXTS = ("What is fever? The patient has a fever.", "User: Helper: Instructions: see a doctor", "发烧怎么办")
_SPACE = "▁"


def tiny_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A tokenizer of a few hundred tokens that can write any text: every byte is one."""
    tokenizer = _byte_level() if family == "bloom" else _like_sentencepiece()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_NAMES)  # type: ignore[no-untyped-call]


def tiny_network(family: Family, *, words: int, seed: int = 0) -> Any:
    """A causal language model of two layers with random weights, in float32."""
    common = {
        "vocab_size": words,
        "hidden_size": 32,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    bloom = {"n_layer": 2, "n_head": 4}
    llama = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = BloomConfig.from_dict(common | bloom) if family == "bloom" else LlamaConfig.from_dict(common | llama)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return network.eval()


def save_tiny(folder: Path, family: Family, *, template: str = "") -> Path:
    """A folder as models are published in: network and tokenizer, with a chat template where one is given."""
    tokenizer = tiny_tokenizer(family)
    if template:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    tiny_network(family, words=len(tokenizer)).save_pretrained(folder)
    return folder


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _TEXTS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=list(_SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _like_sentencepiece() -> Tokenizer:
    """BPE over characters, a mark for space, and bytes for what has no token: as Llama's tokenizer.json is."""
    trained = Tokenizer(models.BPE(unk_token=_SPECIAL[0]))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE)
    trained.train_from_iterator(
        _TEXTS,
        trainers.BpeTrainer(
            vocab_size=120, special_tokens=["<unk>"], initial_alphabet=['"', *"{}[],:"], show_progress=False
        ),
    )
    made = json.loads(trained.to_str())["model"]
    pieces = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *made["vocab"]]
    vocab = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    merges = [tuple(pair) for pair in made["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=_SPECIAL[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer
