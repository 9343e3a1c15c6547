"""What XrayPULSE sees with: BLIP-2's vision tower and Q-Former, and a projection into BLOOM's embeddings.

    image (3, 224, 224) -> EVA-CLIP-g, 39 layers of 1408 -> Q-Former, 32 queries of 768 -> Linear -> 32 tokens

Of these XrayPULSE trained the projection alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel, Blip2VisionConfig, Blip2VisionModel

from omlab.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class EyesConfig:
    """Sizes; left out they are the published ones.

    Attributes:
        size: Pixels of an image's sides.
        vision: Width of the vision tower, whose layers have 4.36 times as many hidden units.
        vision_layers: Of the vision tower.
        vision_heads: Of the vision tower.
        hidden: Hidden units of its layers.
        width: Of the Q-Former.
        layers: Of the Q-Former.
        heads: Of the Q-Former.
        tokens: That an image becomes.
        spread: Of weights that are drawn.
    """

    size: int = 224
    vision: int = 1408
    vision_layers: int = 39
    vision_heads: int = 16
    hidden: int = 6144
    width: int = 768
    layers: int = 12
    heads: int = 12
    tokens: int = 32
    spread: float = 0.02


TINY = EyesConfig(
    size=28, vision=32, vision_layers=2, vision_heads=2, hidden=64, width=24, layers=2, heads=2, tokens=4, spread=0.2
)


class Eyes(nn.Module):
    """Images to tokens as embeddings of a language model.

    Args:
        config: Sizes.
        width: Of the language model.
    """

    def __init__(self, config: EyesConfig, *, width: int) -> None:
        super().__init__()
        self.config = config
        self.vision = Blip2VisionModel(
            Blip2VisionConfig(
                image_size=config.size,
                hidden_size=config.vision,
                num_hidden_layers=config.vision_layers,
                num_attention_heads=config.vision_heads,
                intermediate_size=config.hidden,
                initializer_range=config.spread,
            )
        )
        self.vision.post_layernorm.eps = 1e-5  # BLIP-2's own norm after the tower; transformers has the tower's
        self.queries = nn.Parameter(torch.randn(1, config.tokens, config.width) * config.spread)
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=4 * config.width,
                encoder_hidden_size=config.vision,
                initializer_range=config.spread,
            )
        )
        self.projection = nn.Linear(config.width, width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, tokens, width of the language model)."""
        patches = self.vision(images).last_hidden_state  # (B, 1 + patches, vision)
        queries = self.queries.expand(len(images), -1, -1)
        found = self.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
        projected: Tensor = self.projection(found)
        return projected


_RENAMED = (
    (r"^(?=cls_token|pos_embed|patch_embed\.|blocks\.)", "visual_encoder."),  # the tower's own file
    (r"^visual_encoder\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (r"^visual_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision.encoder.layers.\1.layer_norm\2."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"vision.encoder.layers.\1.self_attn.projection."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.", r"vision.encoder.layers.\1.self_attn."),
    (r"^visual_encoder\.blocks\.", "vision.encoder.layers."),
    (r"^ln_vision\.", "vision.post_layernorm."),
    (r"^query_tokens$", "queries"),
    (r"^Qformer\.bert\.embeddings\.LayerNorm\.", "qformer.layernorm."),
    (r"^Qformer\.bert\.(encoder\.layer\.\d+\.\w+)\.self\.", r"qformer.\1.attention."),
    (r"^Qformer\.bert\.", "qformer."),
    (r"^bloom_proj\.", "projection."),
)
"""Names in published files, in the order in which they are changed to ours."""
_DROPPED = re.compile(
    r"(?:visual_encoder\.)?(?:norm|fc_norm|head)\."  # what classified in the tower's training
    r"|Qformer\.cls\.|Qformer\.bert\.embeddings\.(?:word|position)_"  # the Q-Former's reading of text
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(?:intermediate|output)\."
    r"|(?:t5|opt|bloom|llama)_model\.|(?:t5|opt|llama)_proj\."  # language models, and projections to others
)


def published(state: Mapping[str, Tensor], config: EyesConfig) -> dict[str, Tensor]:
    """What of a published file (BLIP-2's, its tower's alone, XrayPULSE's own) is of the eyes, by our names.

    The tower's last layer is not used by BLIP-2. Its layers keep the biases of queries and values alone: keys have
    none.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _DROPPED.match(name):
            continue
        for pattern, ours in _RENAMED:
            name = re.sub(pattern, ours, name)
        layer = re.match(r"vision\.encoder\.layers\.(\d+)\.", name)
        if layer is None or int(layer[1]) < config.vision_layers:
            found[name] = tensor
    for name in [name for name in found if name.endswith(".q_bias")]:
        query, value = found.pop(name), found.pop(name.replace(".q_bias", ".v_bias"))
        found[name.replace(".q_bias", ".qkv.bias")] = torch.cat([query, torch.zeros_like(value), value])
    return found


def load_eyes(eyes: Eyes, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Fill the eyes from published files by name, each of which has a part. Raises `WeightsError`."""
    wanted, found = eyes.state_dict(), dict[str, Tensor]()
    for file, state in states.items():
        for name, tensor in published(state, eyes.config).items():
            if name not in wanted:
                raise WeightsError(f"{file} has a tensor '{name}' that XrayPULSE's eyes do not have.")
            if tensor.shape != wanted[name].shape:
                raise WeightsError(
                    f"{file} has '{name}' of {tuple(tensor.shape)}, but XrayPULSE has {tuple(wanted[name].shape)}."
                )
            found[name] = tensor
    missing = [name for name in wanted if name not in found]
    if missing:
        raise WeightsError(
            f"{', '.join(states)} lack {len(missing)} tensors of XrayPULSE's eyes, such as '{missing[-1]}': bring the "
            "vision tower, BLIP-2's Q-Former and XrayPULSE's projection in one folder."
        )
    eyes.load_state_dict(found)
