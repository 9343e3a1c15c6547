"""The network of ESM-2, PRIME and ESM-1v: a pre-norm transformer over residues with a head for masked residues.

Lin et al., Evolutionary-scale prediction of atomic-level protein structure with a language model, Science 379 (2023);
Meier et al., Language models enable zero-shot prediction of the effects of mutations on protein function, NeurIPS 2021.

Names of parameters are those of PRIME and of the ESM of transformers. Sequences of unequal length lie one after the
other (`packed`), so that no padding is computed; `padded` is the same over a (B, L) block with a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_protein.alphabet import MASK, PAD

DROPPED = 0.15 * 0.8
"""The share of residues that training replaced by a mask token: what token dropout makes up for."""


@dataclass(frozen=True, kw_only=True)
class EsmConfig:
    """What a network is made of.

    Attributes:
        layers, width, heads, feed_forward: Size of the transformer.
        vocabulary: Tokens that can be put in: 33, or PRIME's 25 (no mask token).
        outputs: Tokens that the head tells apart; 0: no head.
        tied: Whether the head's last matrix is the embedding.
        positions: "rotary" (ESM-2, PRIME) or "learned" (ESM-1v).
        max_tokens: With learned positions, the longest sequence in tokens (start and end count).
        first_norm: Whether embeddings are normalised before the first layer (ESM-1b).
        eps: Of every LayerNorm.
    """

    layers: int = 33
    width: int = 1280
    heads: int = 20
    feed_forward: int = 5120
    vocabulary: int = 33
    outputs: int = 33
    tied: bool = True
    positions: Literal["rotary", "learned"] = "rotary"
    max_tokens: int = 1024
    first_norm: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.positions == "rotary" and (self.width // self.heads) % 2):
            raise ValueError(f"a width of {self.width} does not go into {self.heads} heads of an even width")
        if self.tied and self.outputs not in (0, self.vocabulary):
            raise ValueError(f"a tied head has {self.vocabulary} outputs, not {self.outputs}")

    @property
    def masks(self) -> bool:
        """Whether there is a mask token."""
        return self.vocabulary > MASK


@dataclass(frozen=True)
class Layout:
    """How the T tokens of a batch lie: sequences one after the other, each of `lengths[b]` tokens.

    `places` (T,) is a token's number in its sequence, `owner` (T,) the sequence that it is of, `valid` (T,) whether it
    is no padding, None where there is none.
    """

    lengths: tuple[int, ...]
    places: Tensor
    owner: Tensor
    valid: Tensor | None = None

    @classmethod
    def of(cls, lengths: Sequence[int], *, device: torch.device | str, valid: Tensor | None = None) -> Layout:
        """The layout of sequences of these lengths."""
        places = torch.cat([torch.arange(length, device=device) for length in lengths])
        owner = torch.repeat_interleave(
            torch.arange(len(lengths), device=device), torch.tensor(list(lengths), device=device)
        )
        return cls(tuple(lengths), places, owner, valid)


class Embeddings(nn.Module):
    """Rows of residues, scaled by token dropout, and learned positions where there are such."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width)
        # fair-esm numbers positions from the padding index on: the first token has row 2
        self.position_embeddings = (
            nn.Embedding(config.max_tokens + PAD + 1, config.width) if config.positions == "learned" else None
        )
        self.layer_norm = nn.LayerNorm(config.width, eps=config.eps) if config.first_norm else None

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(T,) -> (T, width).

        Mask tokens give 0, and what is left is scaled to the strength that it had in training, by sequence:
        (1 - 0.12) / (1 - masks / tokens).
        """
        valid = torch.ones_like(tokens, dtype=torch.bool) if layout.valid is None else layout.valid
        masked = (tokens == MASK) & valid
        count = torch.zeros(len(layout.lengths), device=tokens.device)
        share = count.index_add(0, layout.owner, masked.float()) / count.index_add(0, layout.owner, valid.float())
        factor = ((1 - DROPPED) / (1 - share))[layout.owner].masked_fill(masked, 0.0)
        embedded = self.word_embeddings(tokens)
        hidden: Tensor = embedded * factor[:, None].to(embedded.dtype)
        if self.position_embeddings is not None:
            hidden = hidden + self.position_embeddings(layout.places + PAD + 1)
        if self.layer_norm is not None:
            hidden = self.layer_norm(hidden)
        return hidden if layout.valid is None else hidden * valid[:, None].to(hidden.dtype)


class SelfAttention(nn.Module):
    """Query, key and value of all tokens; each attends to its own sequence."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)

    def forward(self, hidden: Tensor, layout: Layout, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """(T, width) -> (T, width)."""
        query, key, value = (part(hidden).unflatten(1, (self.heads, -1)) for part in (self.query, self.key, self.value))
        if rotation is not None:
            query, key = rotated(query, *rotation), rotated(key, *rotation)
        if len(set(layout.lengths)) == 1:  # a block: one call for all
            batch, length = len(layout.lengths), layout.lengths[0]
            mask = None if layout.valid is None else layout.valid.view(batch, 1, 1, length)
            q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in (query, key, value))
            return (
                functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(hidden.shape)
            )
        done = []
        split = (part.split(layout.lengths) for part in (query, key, value))
        for one in zip(*split, strict=True):  # (length, heads, channels) each
            q, k, v = (part.transpose(0, 1)[None] for part in one)
            done.append(functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1))
        return torch.cat(done)


class Dense(nn.Module):
    """A linear layer under the name `dense`, as published keys have it."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)

    def forward(self, hidden: Tensor) -> Tensor:
        """(T, width) -> (T, out)."""
        result: Tensor = self.dense(hidden)
        return result


class Attention(nn.Module):
    """Norm, self-attention, output: what is added to the stream."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Dense(config.width, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, hidden: Tensor, layout: Layout, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """(T, width) -> (T, width)."""
        result: Tensor = self.output(self.self(self.LayerNorm(hidden), layout, rotation))
        return result


class Layer(nn.Module):
    """x + attention(x), then x + W2 gelu(W1 norm(x)); GELU by the error function."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Dense(config.width, config.feed_forward)
        self.output = Dense(config.feed_forward, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, hidden: Tensor, layout: Layout, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """(T, width) -> (T, width)."""
        hidden = hidden + self.attention(hidden, layout, rotation)
        result: Tensor = hidden + self.output(functional.gelu(self.intermediate(self.LayerNorm(hidden))))
        return result


class Encoder(nn.Module):
    """The layers and the last norm."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.emb_layer_norm_after = nn.LayerNorm(config.width, eps=config.eps)


class Trunk(nn.Module):
    """Tokens to features of residues."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.embeddings.word_embeddings.weight.device

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(T,) -> (T, width), after the last norm."""
        hidden = self.embeddings(tokens, layout)
        rotation = None
        if self.config.positions == "rotary":
            rotation = angles(layout.places, channels=self.config.width // self.config.heads, dtype=hidden.dtype)
        for layer in self.encoder.layer:
            hidden = layer(hidden, layout, rotation)
        result: Tensor = self.encoder.emb_layer_norm_after(hidden)
        return result


class LmHead(nn.Module):
    """Which residue stands at a token: dense, GELU, norm, decoder."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.layer_norm = nn.LayerNorm(config.width, eps=config.eps)
        self.decoder = nn.Linear(config.width, config.outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.outputs))

    def forward(self, hidden: Tensor) -> Tensor:
        """(rows, width) -> logits (rows, outputs)."""
        result: Tensor = self.decoder(self.layer_norm(functional.gelu(self.dense(hidden)))) + self.bias
        return result


class Esm(nn.Module):
    """Trunk and, where it has outputs, the head for masked residues."""

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.config = config
        self.esm = Trunk(config)
        self.lm_head: LmHead | None = None
        if config.outputs:
            self.lm_head = LmHead(config)
            if config.tied:
                self.lm_head.decoder.weight = self.esm.embeddings.word_embeddings.weight

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.esm.device

    def forward(self, tokens: Tensor, layout: Layout, *, rows: Tensor | None = None) -> Tensor:
        """Logits (rows, outputs) of the tokens `rows`, of all where it is None: the head sees no others."""
        if self.lm_head is None:
            raise ValueError("this network has no head for residues")
        hidden = self.esm(tokens, layout)
        result: Tensor = self.lm_head(hidden if rows is None else hidden[rows])
        return result


def packed(sequences: Sequence[Sequence[int]], *, device: torch.device | str = "cpu") -> tuple[Tensor, Layout]:
    """Tokens (T,) of sequences one after the other, and how they lie."""
    tokens = torch.tensor([token for tokens in sequences for token in tokens], device=device)
    return tokens, Layout.of([len(tokens) for tokens in sequences], device=device)


def filled(sequences: Iterable[Sequence[int]], *, most: int) -> Iterator[list[Sequence[int]]]:
    """The sequences in lists of `most` tokens at most, or of one longer sequence."""
    held: list[Sequence[int]] = []
    room = most
    for one in sequences:
        if held and len(one) > room:
            yield held
            held, room = [], most
        held.append(one)
        room -= len(one)
    if held:
        yield held


def padded(tokens: Tensor, valid: Tensor) -> tuple[Tensor, Layout]:
    """A (B, L) block of tokens in which some are padding: tokens (B L,), and how they lie."""
    batch, length = tokens.shape
    return tokens.flatten(), Layout.of([length] * batch, device=tokens.device, valid=valid.flatten().bool())


def angles(places: Tensor, *, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine (T, 1, channels / 2) of place * 10000^(-2i / channels) (Su et al., arXiv:2104.09864)."""
    powers = torch.arange(0, channels, 2, device=places.device, dtype=torch.float32) / channels
    turned = places.float()[:, None] / 10000.0**powers
    return turned.cos()[:, None].to(dtype), turned.sin()[:, None].to(dtype)


def rotated(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(T, heads, channels), its first half of channels turned with the second half."""
    one, other = vectors.chunk(2, dim=-1)
    return torch.cat((one * cosine - other * sine, other * cosine + one * sine), dim=-1)


def untrained(config: EsmConfig, *, seed: int = 0) -> Esm:
    """A network with weights drawn as ESM's are (normal, 0.02), the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Esm(config)
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
    return network.eval()
