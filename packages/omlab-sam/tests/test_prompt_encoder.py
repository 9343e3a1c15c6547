"""Prompts of pictures and of volumes, of any number of axes alike."""

import pytest
import torch

from omlab_sam.prompt_encoder import PromptEncoder

SIDE, GRID, WIDTH = 32, 4, 48


@pytest.fixture(params=[2, 3], ids=["picture", "volume"])
def prompts(request: pytest.FixtureRequest) -> PromptEncoder:
    torch.manual_seed(0)
    made = PromptEncoder(WIDTH, image_size=SIDE, grid=GRID, axes=request.param)
    return made.requires_grad_(False)


def test_the_grid_swaps_the_first_two_axes_against_points(prompts: PromptEncoder) -> None:
    place, cell = (3, 0, 2)[: prompts.axes], SIDE / GRID
    point = torch.tensor([(n + 0.5) * cell - 0.5 for n in (0, 3, 2)[: prompts.axes]])
    sparse, _ = prompts(points=point[None, None], labels=torch.tensor([[1]]))
    inside = prompts.get_submodule("point_embeddings.1").get_parameter("weight")[0]
    torch.testing.assert_close(prompts.dense_pe()[0, :, *place], sparse[0, 0] - inside, rtol=1e-4, atol=1e-5)


def test_a_label_of_minus_one_is_no_point_wherever_it_lies(prompts: PromptEncoder) -> None:
    labels = torch.tensor([[-1]])
    here, there = (prompts(points=torch.full((1, 1, prompts.axes), at), labels=labels)[0] for at in (1.0, 9.0))
    assert torch.equal(here, there)
    assert here.shape == (1, 2, WIDTH)  # it and the one that is always there


def test_masks_are_taken_to_the_grid_and_without_one_each_place_is_alike(prompts: PromptEncoder) -> None:
    axes = prompts.axes
    corners = torch.arange(2.0 * axes)[None]
    sparse, dense = prompts(boxes=corners, masks=torch.randn(1, 1, *(4 * GRID,) * axes))
    assert sparse.shape == (1, 2, WIDTH)
    assert dense.shape == (1, WIDTH, *(GRID,) * axes)
    _, alike = prompts(boxes=corners)
    assert torch.equal(alike.flatten(2), alike.flatten(2)[..., :1].expand(-1, -1, GRID**axes))


def test_what_contradicts_itself_is_refused(prompts: PromptEncoder) -> None:
    axes = prompts.axes
    with pytest.raises(ValueError, match="given together"):
        prompts(points=torch.zeros(1, 1, axes))
    without_boxes = PromptEncoder(WIDTH, image_size=SIDE, grid=GRID, axes=axes, kinds=2)
    with pytest.raises(ValueError, match="takes no boxes"):
        without_boxes(boxes=torch.zeros(1, 2 * axes))
