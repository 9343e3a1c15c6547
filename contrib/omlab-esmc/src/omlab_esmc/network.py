"""The networks of the package esm behind the calls of omlab-protein (`omlab_protein.roles`).

Hayes et al., Simulating 500 million years of evolution with a language model, Science 387 (2025);
ESM Team, ESM Cambrian: Revealing the mysteries of proteins with unsupervised learning (2024).

Their alphabet is that of ESM-2 but for token 31, a break between chains, which no sequence of omlab holds. Sequences of
one length go through a network together, so that there is no padding and attention needs no mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from omlab.errors import MissingDependencyError
from omlab_protein.alphabet import TOKENS
from omlab_protein.network import Layout


@dataclass(frozen=True, kw_only=True)
class EsmcConfig:
    """What a network is made of.

    Attributes:
        layers, width, heads: Size of the transformer.
        frame_heads: Heads of the attention between the backbones of residues that ESM3 has; 0: ESM-C.
        vocabulary: Tokens that can be put in.
        outputs: Of the head, which is wider than the vocabulary.
    """

    layers: int
    width: int
    heads: int
    frame_heads: int = 0
    vocabulary: int = len(TOKENS)
    outputs: int = 64

    @property
    def masks(self) -> bool:
        """Whether there is a mask token."""
        return True


class Trunk(nn.Module, ABC):
    """Tokens to features of residues, by a network of the package esm (`published`)."""

    def __init__(self, config: EsmcConfig, published: Any) -> None:
        super().__init__()
        self.config = config
        self.published = published

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    @abstractmethod
    def features(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, L, width), what the package esm calls embeddings."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(rows, width) -> (rows, outputs)."""

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(T,) -> (T, width)."""
        sequences = torch.split(tokens, list(layout.lengths))
        found: dict[int, Tensor] = {}
        for length in set(layout.lengths):
            alike = [number for number, other in enumerate(layout.lengths) if other == length]
            block = self.features(torch.stack([sequences[number] for number in alike]))
            found.update(zip(alike, block, strict=True))
        return torch.cat([found[number] for number in range(len(sequences))])


class EsmC(Trunk):
    """ESM-C; its features are those after the last norm."""

    def features(self, tokens: Tensor) -> Tensor:
        """As `ESMC.forward`, which also keeps what every layer gave."""
        hidden: Tensor = self.published.transformer(self.published.embed(tokens))[0]
        return hidden

    def logits(self, features: Tensor) -> Tensor:
        """The head."""
        result: Tensor = self.published.sequence_head(features)
        return result


class Esm3(Trunk):
    """ESM3 without structure or function; its features are those before the last norm."""

    def __init__(self, config: EsmcConfig, published: Any) -> None:
        super().__init__(config, published)
        for block in published.transformer.blocks:
            block.use_geom_attn = False  # adds 0 where no residue has a backbone, for a (heads, L, L, 3) table

    def features(self, tokens: Tensor) -> Tensor:
        """As `ESM3.forward` with nothing but a sequence."""
        hidden: Tensor = self.published(sequence_tokens=tokens).embeddings
        return hidden

    def logits(self, features: Tensor) -> Tensor:
        """The last norm and the head for residues."""
        result: Tensor = self.published.output_heads.sequence_head(self.published.transformer.norm(features))
        return result


class Network(nn.Module):
    """Trunk and head."""

    def __init__(self, esm: Trunk) -> None:
        super().__init__()
        self.config = esm.config
        self.esm = esm

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.esm.device

    def forward(self, tokens: Tensor, layout: Layout, *, rows: Tensor | None = None) -> Tensor:
        """Logits (rows, outputs) of the tokens `rows`, of all where it is None: the head sees no others."""
        hidden = self.esm(tokens, layout)
        return self.esm.logits(hidden if rows is None else hidden[rows])


def untrained(config: EsmcConfig, *, seed: int = 0) -> Network:
    """A network with weights drawn as the package esm draws them, the same for the same seed.

    Raises `MissingDependencyError` where that package is not here.
    """
    try:
        from esm.models.esm3 import ESM3  # type: ignore[import-not-found]  # of an environment of its own
        from esm.models.esmc import ESMC  # type: ignore[import-not-found]
        from esm.tokenization import EsmSequenceTokenizer  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingDependencyError(
            f"ESM-C and ESM3 need the package esm 3.2 of EvolutionaryScale, which cannot be used here ({error}): it "
            "needs an older transformers than other models do, so make an environment for it: uv venv esmc, then "
            "uv pip install --python esmc omlab-esmc."
        ) from error
    size = {"d_model": config.width, "n_heads": config.heads, "n_layers": config.layers}
    tokenizer = EsmSequenceTokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not config.frame_heads:
            return Network(EsmC(config, ESMC(**size, tokenizer=tokenizer, use_flash_attn=False))).eval()
        # the tokenizers of other inputs, and the networks between structures and tokens, would be fetched
        others = dict.fromkeys(("structure_encoder_fn", "structure_decoder_fn", "function_decoder_fn"))
        network = ESM3(**size, v_heads=config.frame_heads, tokenizers=SimpleNamespace(sequence=tokenizer), **others)
        return Network(Esm3(config, network)).eval()
