from collections.abc import Callable

import pytest
import torch

from omlab_sam.carrying import Front, box_around, fronts_of
from omlab_sam.network import Sam, best_mask
from omlab_sam.rounds import Asked, answer

POINTS, LABELS = torch.tensor([[5.0, 6], [20, 9], [8, 25]]), torch.tensor([1, 0, 1])
BOX = torch.tensor([2.0, 3, 25, 28])


def asked(count: int, **more: torch.Tensor) -> Asked:
    return Asked(points=POINTS[:count], labels=LABELS[:count], **more)


def test_objects_together_are_each_by_itself_in_rounds(tiny: Callable[..., Sam]) -> None:
    sam = tiny()
    with torch.no_grad():
        first, second = sam.image_encoder(torch.randn(2, 3, 32, 32)).split(1)
    objects = [asked(3), asked(1), asked(2, box=BOX), asked(0, box=BOX), asked(1, box=BOX, mask=torch.randn(16, 16))]
    embeddings = [first, second, first, first, second]
    together = answer(sam, embeddings, objects, mask_prompt=torch.sigmoid, multimask=True)
    for number, (embedding, one) in enumerate(zip(embeddings, objects, strict=True)):
        alone = answer(sam, [embedding], [one], mask_prompt=torch.sigmoid, multimask=True)
        for mine, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(mine[0], all_of_them[number], rtol=1e-4, atol=1e-5)


def test_a_round_has_all_clicks_and_the_mask_of_the_round_before(tiny: Callable[..., Sam]) -> None:
    sam = tiny()
    with torch.no_grad():
        embedding = sam.image_encoder(torch.randn(1, 3, 32, 32))
        low = best_mask(*sam.decode(embedding, boxes=BOX[None], multimask=True))[0]
        for count in (1, 2):
            low, iou = best_mask(
                *sam.decode(
                    embedding,
                    points=POINTS[None, :count],
                    labels=LABELS[None, :count],
                    masks=low.sigmoid(),
                    multimask=True,
                )
            )
    found = answer(sam, [embedding], [asked(2, box=BOX)], mask_prompt=torch.sigmoid, multimask=True)
    torch.testing.assert_close(found.logits, low[:, 0])
    torch.testing.assert_close(found.ious, iou[:, 0])


def test_an_object_that_is_asked_for_nothing_is_refused(tiny: Callable[..., Sam]) -> None:
    with pytest.raises(ValueError, match="needs a box, a mask or a point"):
        answer(tiny(), [torch.zeros(1, 16, 4, 4)], [asked(0)], mask_prompt=torch.sigmoid, multimask=True)


def test_slices_between_two_seeds_are_shared() -> None:
    fronts = fronts_of([7, 2], slices=10, object=3)
    covered = []
    for front in fronts:
        while not front.ends:
            front = front.on()
            covered.append(front.at)
    assert sorted(covered) == [0, 1, 3, 4, 5, 6, 8, 9]
    assert fronts_of([0], slices=1, object=0) == []
    assert fronts_of([0], slices=3, object=0) == [Front(object=0, at=0, direction=1, last=2)]


def test_the_box_around_a_mask() -> None:
    logits = torch.full((6, 8), -1.0)
    assert box_around(logits) is None
    logits[2:4, 3:7] = 1
    found = box_around(logits)
    assert found is not None
    assert found.tolist() == [3, 2, 7, 4]
