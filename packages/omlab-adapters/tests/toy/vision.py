"""Transformers of timm within a module of the toy's own."""

import copy

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from omlab_payloads.embedding import Embedding

from .model import Tiny


class Seen(nn.Module):
    def __init__(self, name, outputs):
        super().__init__()
        if name == "tinyvit":
            self.encoder = VisionTransformer(
                img_size=8, patch_size=4, in_chans=1, embed_dim=16, depth=2, num_heads=2, num_classes=outputs
            )
        else:
            self.encoder = SwinTransformer(
                img_size=8,
                patch_size=1,
                in_chans=1,
                embed_dim=8,
                depths=(2, 2),
                num_heads=(2, 2),
                window_size=4,
                num_classes=outputs,
            )

    def forward(self, x):
        return self.encoder(x.view(-1, 1, 8, 8))


class Seeing(Tiny):
    def __init__(self, name, module, names, device):
        super().__init__(module, "classes", names, device)
        self.name = name

    def prepare(self, verb, inputs, /):
        return torch.from_numpy(inputs["picture"].values)

    def _in(self, batch):
        return torch.stack(list(batch)).to(self.device)

    @torch.inference_mode()
    def embed(self, batch, /):
        encoder = self.module.eval().encoder
        features = encoder.forward_features(self._in(batch).view(-1, 1, 8, 8))
        return [Embedding(vector=row.numpy()) for row in encoder.forward_head(features, pre_logits=True).cpu()]

    def layers(self):
        names = [name for name, _ in self.module.named_parameters()]
        return [[name for name in names if ".head." not in name], [name for name in names if ".head." in name]]

    def retarget(self, recipe, about, *, settings, seed):
        net = copy.deepcopy(self.module)
        torch.manual_seed(seed)
        net.encoder.reset_classifier(len(about.classes))
        return Seeing(self.name, net, list(about.classes.values()), self.device)

    def config(self):
        return {"names": self.names}


def load(card, *, weights, needs, device, settings, config):
    names = (config or {}).get("names", [])
    net = Seen(card.name, len(names))
    if weights is not None:
        weights.load(net)
    return Seeing(card.name, net, names, device)
