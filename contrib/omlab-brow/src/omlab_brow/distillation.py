"""Self-distillation: a student learns to say of any view of an image what its slowly following teacher says of others.

BROW's own pre-training was not published; this is the method that its authors say theirs was adapted from (Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021), with two options of ours for what BROW's
paper names without constants: shuffled tiles, and a view of the surroundings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from omlab_brow.vit import Brow, VitConfig
from omlab_train.distillation import HeadConfig
from omlab_train.teacher import SelfDistiller, Step

Views = Mapping[str, Tensor]
"""`global` (B, G, 3, S, S) for both networks, `local` (B, L, 3, s, s) for the student, `scale` for the teacher."""


class SelfDistillation(SelfDistiller):
    """Both networks with what their training needs: `module(views, generator, step)` gives (loss, parts).

    Attributes:
        shuffle: Tiles of a side in which the student's global views are shuffled; 0: they are not.
    """

    def __init__(self, config: VitConfig, *, head: HeadConfig) -> None:
        super().__init__(*both(config), width=config.width, head=head)
        self.config, self.shuffle = config, 0

    @property
    def encoder(self) -> Brow:
        """The network that gives features: the teacher's, which are the better ones."""
        found = self.teacher.backbone
        assert isinstance(found, Brow)
        return found

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D)."""
        return self.encoder.features(images)

    def forward(self, views: Views, generator: torch.Generator, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; in training the teacher follows first, and the centre afterwards."""
        self.begin(step)
        seen = shuffled(views["global"], grid=self.shuffle, generator=generator)
        student = self.student([*seen.unbind(1), *views["local"].unbind(1)], frozen=step.frozen)
        shown = views["global"].unbind(1)
        teacher = self.taught([*shown, *(views["scale"].unbind(1) if "scale" in views else ())])
        pairs = pairs_of(len(teacher), len(student), shared=len(shown)).to(student.device)
        return self.compared(student, teacher, step, pairs=pairs), {}


def both(config: VitConfig) -> tuple[Brow, Brow]:
    """The encoders of a student and of its teacher, which drops no path."""
    return Brow(config), Brow(replace(config, drop_path=0.0))


def pairs_of(of_teacher: int, views: int, *, shared: int) -> Tensor:
    """Which pairs count, (T, V): all but the same view of both networks, the first `shared` of each."""
    pairs = torch.ones(of_teacher, views)
    pairs[range(shared), range(shared)] = 0
    return pairs


def shuffled(views: Tensor, *, grid: int, generator: torch.Generator) -> Tensor:
    """Views (B, V, 3, S, S) with their grid x grid tiles in another order, drawn for each; 0: as they are.

    Raises:
        ValueError: The grid does not divide S.
    """
    if grid < 2:
        return views
    B, V, C, S, _ = views.shape
    if S % grid:
        raise ValueError(f"views of {S} pixels have no {grid} x {grid} tiles of the same size")
    tiles = views.reshape(B, V, C, grid, S // grid, grid, S // grid).permute(0, 1, 3, 5, 2, 4, 6).flatten(2, 3)
    order = torch.rand(B, V, grid * grid, generator=generator, device=views.device).argsort(dim=2)
    moved = tiles.gather(2, order[..., None, None, None].expand_as(tiles)).view(B, V, grid, grid, *tiles.shape[3:])
    return moved.permute(0, 1, 4, 2, 5, 3, 6).reshape(views.shape)
