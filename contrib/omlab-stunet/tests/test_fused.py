"""The fused operators in the network and its training: both memory layouts, plain PyTorch and Triton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_stunet import network as network_module
from omlab_stunet.network import SIZES, StuNet, StuNetConfig, on_device, untrained
from omlab_testkit.parity import Parity, check_case, find_cases, load_parity
from omlab_train.losses import deep_supervision_loss, deep_supervision_weights, shrink_labels

HERE = Path(__file__).parent
CASES = find_cases([HERE / "golden"])
Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
SMALL = StuNetConfig(depth=(2, 1, 1), dims=(4, 6, 8), num_classes=3, poolings=((2, 2, 2), (1, 2, 2)))


def channels_last(parity: Parity) -> Parity:
    """The same with networks whose weights lie channels-last."""
    return Parity(
        path=parity.path,
        build=lambda case: parity.build(case).to(memory_format=torch.channels_last_3d),
        run=parity.run,
    )


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused operator also on the CPU."""
    monkeypatch.setattr(network_module, "_norm_act", network_module.fused)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_golden_cases_hold_with_the_fused_operator(fused: None, layout: str, path: Path) -> None:
    parity = load_parity(HERE)
    check_case(channels_last(parity) if layout == "channels_last" else parity, path)


@pytest.mark.gpu
@pytest.mark.parametrize("path", [path for path in CASES if path.stem != "sliding_window"], ids=lambda path: path.stem)
def test_golden_cases_hold_on_a_gpu(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parity = load_parity(HERE)
    # TF32 rounds the products of convolutions to 10 bits, which the cases' tolerance does not allow for
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    def run(module: nn.Module, case: dict[str, object], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        found = parity.run(on_device(module, "cuda"), case, {name: x.cuda() for name, x in inputs.items()})
        return {name: value.cpu() for name, value in found.items()}

    check_case(Parity(path=parity.path, build=parity.build, run=run), path)


def eager(x: Tensor, norm: nn.InstanceNorm3d, *, residual: Tensor | None = None) -> Tensor:
    """What the fused operator stands for, with PyTorch's own."""
    y = norm(x)
    return functional.leaky_relu(y if residual is None else y + residual, 0.01)


def outcome(network: StuNet, x: Tensor) -> list[Tensor]:
    """All levels and all gradients."""
    levels = network.train()(x)
    loss = torch.stack([level.sin().mean() for level in levels]).sum()
    return [*levels, *torch.autograd.grad(loss, list(network.parameters()))]


@pytest.mark.parametrize("form", ["torch", "interpret"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["contiguous", "last"])
def test_outputs_and_gradients_are_those_of_pytorchs_own(
    layout: torch.memory_format, form: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if form == "interpret":
        request.getfixturevalue("interpreted")
    x = torch.randn(2, 1, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    network = untrained(SMALL)
    monkeypatch.setattr(network_module, "_norm_act", network_module.fused)
    found = outcome(network.to(memory_format=layout), x)
    monkeypatch.setattr(network_module, "_norm_act", eager)
    wanted = outcome(network.double(), x.double())
    for one, other in zip(found, wanted, strict=True):
        scale = max(float(other.detach().abs().max()), 0.01)  # biases before a norm have no gradient
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-5 * scale)


def test_every_activation_is_channels_last_where_the_weights_are(fused: None) -> None:
    network = untrained(SIZES["tiny"]).to(memory_format=torch.channels_last_3d)
    wrong: list[str] = []
    for name, module in network.named_modules():

        def look(_module: nn.Module, _inputs: object, output: object, *, name: str = name) -> None:
            if isinstance(output, Tensor) and not output.is_contiguous(memory_format=torch.channels_last_3d):
                wrong.append(name)

        module.register_forward_hook(look)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(
            2
        )  # with one thread, or one image, PyTorch's convolutions on a CPU choose contiguous outputs
        network(torch.randn(2, 1, 32, 32, 64))
    finally:
        torch.set_num_threads(threads)
    assert wrong == []


def naive_loss(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    """nnU-Net's loss from its formulas: one-hot labels, PyTorch's cross-entropy, autograd."""
    total = torch.zeros(())
    for weight, z in zip(deep_supervision_weights(len(outputs)), outputs, strict=True):
        y = shrink_labels(labels, shape=z.shape[2:])
        p, g = z.softmax(1), functional.one_hot(y, z.shape[1]).movedim(-1, 1).to(z)
        overlap, size = (p * g).flatten(2).sum(2), (p + g).flatten(2).sum(2)
        dice = ((2 * overlap + 1e-5) / (size + 1e-5 + 1e-8))[:, 1:].mean()
        total = total + weight * (functional.cross_entropy(z, y) - dice)
    return total


def training(loss: Loss, *, config: StuNetConfig, shape: tuple[int, ...]) -> Tensor:
    """The losses of 20 steps on one batch (B, D, H, W): balls of several classes, as bright as their class, in noise.

    The rate is low: at higher ones a network drawn at random turns rounding errors into visible differences.
    """
    generator = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape[1:]], indexing="ij")
    labels = torch.zeros(shape, dtype=torch.long)
    for sample in range(shape[0]):
        for k in range(1, config.num_classes):
            centre = torch.rand(3, generator=generator) - 0.5
            labels[sample][sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) < 0.15] = k
    x = labels.unsqueeze(1) + 0.3 * torch.randn(labels.unsqueeze(1).shape, generator=generator)
    network = untrained(config).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=3e-5)
    found = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(network(x), labels)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()
        found.append(value.detach())
    return torch.stack(found)


def test_twenty_steps_with_the_fused_loss_are_those_of_the_naive_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SIZES["tiny"], num_classes=3)
    wanted = training(naive_loss, config=config, shape=(2, 32, 32, 32))
    assert wanted[-1] < 0.6 * wanted[0]  # it does learn
    monkeypatch.delenv("OMLAB_KERNELS", raising=False)
    found = training(deep_supervision_loss, config=config, shape=(2, 32, 32, 32))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_twenty_steps_in_the_kernels_are_those_of_pytorchs_own(
    interpreted: None, fused: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StuNetConfig(depth=(1, 1), dims=(2, 2), num_classes=3, poolings=((2, 2, 2),))
    found = training(deep_supervision_loss, config=config, shape=(1, 4, 6, 8))
    monkeypatch.setenv("OMLAB_KERNELS", "torch")
    monkeypatch.setattr(network_module, "_norm_act", eager)
    torch.testing.assert_close(found, training(naive_loss, config=config, shape=(1, 4, 6, 8)), rtol=0, atol=1e-4)
