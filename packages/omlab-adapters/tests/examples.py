"""What the test kit cannot make up: a transformer for prompts, which sees the kit's points as pictures; a segmenter."""

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from omlab_testkit.parity import load_file
from omlab_testkit.small import CLASSES, SmallBase, SmallModel, small_data

segmenters = load_file(Path(__file__).with_name("segmenters.py"))


class Seen(nn.Module):
    """Places (N, 2) as pictures of 8 x 8, half of them as bright as each coordinate says."""

    def __init__(self, *, outputs):
        super().__init__()
        self.encoder = VisionTransformer(
            img_size=8, patch_size=4, in_chans=1, embed_dim=16, depth=2, num_heads=2, num_classes=outputs
        )

    def forward(self, x):
        return self.encoder(self.pictures(x))

    def body(self, x):
        return self.encoder.forward_head(self.encoder.forward_features(self.pictures(x)), pre_logits=True)

    def pictures(self, x):
        return x.repeat_interleave(32, dim=1).reshape(-1, 1, 8, 8)


class SeeingModel(SmallModel):
    def __init__(self, *, classes, device="cpu"):
        super().__init__(classes=classes, device=device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = Seen(outputs=len(classes)).eval()

    def retarget(self, recipe, about, *, settings, seed):
        other = SeeingModel(classes=tuple(about.classes.values()))
        kept = {name: value for name, value in self.module.state_dict().items() if ".head." not in name}
        other.module.load_state_dict(kept, strict=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            other.module.encoder.reset_classifier(len(other.classes))
        return other


class SeeingBase(SmallBase):
    def __init__(self):
        super().__init__()
        self._session = self.held(SeeingModel(classes=CLASSES))

    def trainable(self, *, device=None):
        return SeeingModel(classes=CLASSES)

    def build(self, *, config, weights):
        return SeeingModel(classes=config["classes"] if config else CLASSES)


def base(card):
    if card == "calibrate":
        return segmenters.SureBase("image"), segmenters.BlobData("image"), None
    return (SeeingBase(), small_data(), "classification") if card == "vpt" else None
