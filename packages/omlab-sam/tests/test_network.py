from collections.abc import Callable

import pytest
import torch

from omlab_sam.network import VARIANTS, Sam, best_mask


@pytest.mark.parametrize(
    ("variant", "size", "adapters", "count"),
    [
        ("vit_b", 256, True, 271241776),
        ("vit_b", 256, False, 90737200),
        ("vit_b", 1024, False, 93735472),
        ("vit_l", 256, False, 308361520),
        ("vit_h", 256, False, 636113968),
    ],
)
def test_sizes_are_those_that_were_measured(variant: str, size: int, adapters: bool, count: int) -> None:
    with torch.device("meta"):
        made = Sam(**VARIANTS[variant], image_size=size, adapters=adapters)
    assert sum(parameter.numel() for parameter in made.parameters()) == count


def test_many_prompts_of_one_image_are_the_same_as_one_by_one(tiny: Callable[..., Sam]) -> None:
    sam = tiny(adapters=True)
    points, labels = torch.rand(3, 2, 2) * 32, torch.tensor([[1, 0], [1, -1], [0, 0]])
    with torch.no_grad():
        embedding = sam.image_encoder(torch.randn(1, 3, 32, 32))
        assert embedding.shape == (1, 16, 4, 4)
        logits, ious = sam.decode(embedding, points=points, labels=labels, multimask=True)
        assert logits.shape == (3, 3, 16, 16)
        for n in range(3):
            one, iou = sam.decode(embedding, points=points[n : n + 1], labels=labels[n : n + 1], multimask=True)
            torch.testing.assert_close(one[0], logits[n])
            torch.testing.assert_close(iou[0], ious[n])
        torch.testing.assert_close(
            sam.decode(embedding.expand(3, -1, -1, -1), points=points, labels=labels, multimask=True)[0], logits
        )
    best, iou = best_mask(logits, ious)
    assert best.shape == (3, 1, 16, 16)
    assert torch.equal(iou[:, 0], ious.amax(1))


def test_single_mask_is_the_first_of_all(tiny: Callable[..., Sam]) -> None:
    sam = tiny()
    with torch.no_grad():
        embedding = sam.image_encoder(torch.randn(1, 3, 32, 32))
        boxes = torch.tensor([[3.0, 4, 20, 30]])
        sparse, dense = sam.prompt_encoder(boxes=boxes)
        every, _ = sam.mask_decoder.all_masks(
            embedding, dense_pe=sam.prompt_encoder.dense_pe(), sparse=sparse, dense=dense
        )
        torch.testing.assert_close(sam.decode(embedding, boxes=boxes, multimask=False)[0], every[:, :1])
        torch.testing.assert_close(sam.decode(embedding, boxes=boxes, multimask=True)[0], every[:, 1:])
    assert sparse.shape == (1, 2, 16)  # a box brings no padding point


def test_wrong_sizes_are_refused_with_both_numbers(tiny: Callable[..., Sam]) -> None:
    sam = tiny()
    with pytest.raises(ValueError, match=r"must be \(B, 3, 32, 32\), not \(1, 3, 16, 32\)"):
        sam.image_encoder(torch.zeros(1, 3, 16, 32))
    with pytest.raises(ValueError, match="3 prompts need 1 image embedding or one for each of them, not 2"):
        sam.decode(torch.zeros(2, 16, 4, 4), boxes=torch.zeros(3, 4), multimask=False)
    with pytest.raises(ValueError, match="image size 40 is not a multiple of 16"):
        tiny(image_size=40, adapters=True)
    with pytest.raises(ValueError, match=r"Global blocks \(5,\) must be among the 2"):
        tiny(global_attn_indexes=(5,))
