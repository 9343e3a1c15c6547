from collections.abc import Callable

import torch

from omlab_sam.network import Sam
from omlab_sam.weights import resized, taken_over


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def test_a_file_of_another_image_size_loads(tiny: Callable[..., Sam]) -> None:
    large, small = tiny(image_size=64), tiny()
    state = resized(large.state_dict(), shapes=shapes(small))
    small.load_state_dict(state)
    assert torch.equal(state["image_encoder.blocks.0.attn.rel_pos_h"], large.image_encoder.blocks[0].attn.rel_pos_h)


def test_tables_keep_what_is_linear(tiny: Callable[..., Sam]) -> None:
    large, small = tiny(image_size=64), tiny()
    rows = torch.arange(15.0)[:, None].expand(-1, 8)
    state = resized({"image_encoder.blocks.1.attn.rel_pos_w": rows}, shapes=shapes(small))
    (table,) = state.values()
    assert table.shape == (7, 8)
    torch.testing.assert_close(table[3], torch.full((8,), 7.0))  # the middle row is no distance, before and after
    assert len(large.image_encoder.blocks[1].attn.rel_pos_w) == 15


def test_what_is_trained_anew_is_left_out_and_the_iou_token_is_not(tiny: Callable[..., Sam]) -> None:
    left = taken_over(tiny().state_dict())
    assert "mask_decoder.iou_token.weight" in left
    assert not [key for key in left if "mask_tokens" in key or "hypernetworks" in key or "iou_prediction" in key]
