"""Pre-training without targets: a student learns to say of any view of a clip what its teacher says of two long ones.

DINO (Caron et al. 2021) on views of different places and times, as Endo-FM was pre-trained. Its paper's two losses,
across views and of motion, are both among the 18 pairs of ten views with two.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omlab_endofm.backbone import Backbone, BackboneConfig
from omlab_endofm.views import GLOBAL_FRAMES
from omlab_train.distillation import HeadConfig
from omlab_train.teacher import SelfDistiller, Step


class ClipDistillation(SelfDistiller):
    """Both networks: `module(views, generator, step)` gives (loss, parts). Paths are dropped in the teacher too.

    Args:
        config: Of both backbones.
        head: Of both heads.
    """

    def __init__(self, config: BackboneConfig, *, head: HeadConfig) -> None:
        super().__init__(Backbone(config), Backbone(config), width=config.width, head=head)
        self.config = config

    @property
    def encoder(self) -> Backbone:
        """The network that gives features: the teacher's, which are the better ones."""
        found = self.teacher.backbone
        assert isinstance(found, Backbone)
        return found

    def forward(
        self, views: Mapping[str, Tensor], generator: torch.Generator, step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of views (B, 3, T, S, S), the global ones first; the generator draws nothing here."""
        self.begin(step)
        shown = list(views.values())
        student = self.student(shown, frozen=step.frozen)
        teacher = self.taught(shown[: len(GLOBAL_FRAMES)])
        return self.compared(student, teacher, step), {}


def with_teacher(encoder: Backbone, *, head: HeadConfig, seed: int) -> ClipDistillation:
    """A student and a teacher that both begin as `encoder`, with new heads, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ClipDistillation(encoder.config, head=head)
    for tower in (network.student, network.teacher):
        tower.backbone.load_state_dict(encoder.state_dict())
    return network.eval()
