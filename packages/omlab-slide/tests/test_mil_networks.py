"""Forms without a recorded case: several heads and branches, no gate, many classes, bags of few patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omlab_slide.mil.abmil import AttentionPooling, PoolingConfig
from omlab_slide.mil.clam import Clam, ClamConfig
from omlab_slide.mil.losses import ROW_LOSSES, instance_loss, survival_loss, survival_of
from omlab_slide.mil.max_pool import MaxPool, MaxPoolConfig
from omlab_slide.mil.packed import Packed

BAGS = [torch.randn(count, 6, generator=torch.Generator().manual_seed(count)) for count in (5, 1, 9)]


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(("heads", "branches"), [(1, 1), (3, 2)])
def test_heads_are_put_together_by_the_condensing_layer(heads: int, branches: int, gated: bool) -> None:
    torch.manual_seed(0)
    config = PoolingConfig(feature_dim=6, head_dim=4, n_heads=heads, n_branches=branches, gated=gated)
    module, packed = AttentionPooling(config).eval(), Packed.of(BAGS)
    pooled, scores = module(packed.features, packed.offsets)
    assert scores.shape == (15, branches, heads)
    for place, bag in enumerate(BAGS):
        parts = []
        for head in range(heads):
            seen: Tensor = module.attention_heads[head](bag)
            if gated:
                seen = seen * module.gating_layers[head](bag)
            weights = module.branching_layers[head](seen).softmax(dim=0)  # (N, branches)
            parts.append(weights.T @ bag)
        wanted = torch.cat(parts, dim=1)
        wanted = module.condensing_layer(wanted) if heads > 1 else wanted
        torch.testing.assert_close(pooled[place], wanted)


@pytest.mark.parametrize("branches", ["single", "multi"])
@pytest.mark.parametrize("loss", ["ce", "svm"])
def test_bags_of_few_patches_train_the_instance_branch_all_the_same(branches: str, loss: str) -> None:
    config = ClamConfig(embed_dim=6, n_classes=3, branches=branches, size="tiny", k_sample=8)
    module, packed = Clam(config), Packed.of(BAGS)
    found = module(packed.features, packed.offsets, torch.tensor([0, 2, 1]), others=True)
    assert found.instances is not None
    assert [int((found.instances.bags == bag).sum()) for bag in range(3)] == [2 * 4, 0, 8 * 4]
    total = instance_loss(found.instances, loss=ROW_LOSSES[loss], bags=3, classes=3, others=True)
    total.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(total)
    alone = Packed.of([BAGS[1]])
    lone = module(alone.features, alone.offsets, torch.tensor([1]))
    assert instance_loss(lone.instances, loss=ROW_LOSSES[loss], bags=1, classes=3, others=False) == 0


def test_of_many_classes_the_surest_patch_speaks_for_the_bag() -> None:
    torch.manual_seed(1)
    module, packed = MaxPool(MaxPoolConfig(embed_dim=6, n_classes=4, hidden=5)).eval(), Packed.of(BAGS)
    found = module(packed.features, packed.offsets).logits
    for place, bag in enumerate(BAGS):
        logits = module.classifiers(module.fc(bag))
        best = int(logits.softmax(dim=1).amax(dim=1).argmax())
        torch.testing.assert_close(found[place], logits[best])


def test_survival_is_a_likelihood() -> None:
    logits = torch.randn(1, 3, dtype=torch.float64)
    shares = [survival_loss(logits, torch.tensor([t]), torch.tensor([1])).neg().exp() for t in range(3)]
    rest = survival_loss(logits, torch.tensor([2]), torch.tensor([0])).neg().exp()
    torch.testing.assert_close(torch.stack([*shares, rest]).sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(survival_of(logits)[0, -1], rest)
