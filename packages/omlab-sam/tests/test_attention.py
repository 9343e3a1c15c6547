import pytest
import torch

from omlab_sam.attention import RelativeAttention
from omlab_sam.naive import padded_attention


def attention(window: int, side: int) -> RelativeAttention:
    torch.manual_seed(window)
    made = RelativeAttention(8, heads=2, window=window, side=side).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize(
    ("window", "grid"), [(3, (4, 5)), (3, (3, 6)), (3, (2, 2)), (4, (8, 5)), (14, (16, 16)), (0, (3, 4))]
)
def test_the_sink_is_what_padding_computes_with_all_gradients(window: int, grid: tuple[int, int]) -> None:
    made = attention(window, window or 4)
    x = torch.randn(2, *grid, 8, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(2, *grid, 8, dtype=torch.float64)
    wanted = [x, *made.parameters()]
    fast, padded = made(x), padded_attention(made, x)
    torch.testing.assert_close(fast, padded)
    gradients = [torch.autograd.grad((given * slope).sum(), wanted) for given in (fast, padded)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_is_computed_for_padded_queries() -> None:
    seen = []
    made = attention(14, 14)
    made.qkv.register_forward_hook(lambda _module, given, _result: seen.append(given[0].shape))
    made(torch.randn(1, 16, 16, 8, dtype=torch.float64))
    assert seen == [(1, 16, 16, 8)]


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 8 is not a multiple of the 3 heads"):
        RelativeAttention(8, heads=3, window=2, side=2)
