from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import omlab
from omlab import progress
from omlab.errors import OmlabError, OmlabWarning
from omlab_volume.big.payloads import BigVolume, big
from omlab_volume.big.voxels import Held
from omlab_volume.inference.export import predict_labels
from omlab_volume.inference.sliding_window import SlidingWindow, predict_scores
from omlab_volume.inference.streaming import read_padded, stream_blocks, stream_windows
from omlab_volume.io.ome_zarr import OmeZarr
from omlab_volume.labels import labels_from_names
from omlab_volume.volume import Volume

LABELS = labels_from_names(["axon", "soma"])


def network(classes=3, channels=1):
    torch.manual_seed(classes)
    return nn.Sequential(nn.Conv3d(channels, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, classes, 3, padding=1)).eval()


def noise(shape, channels=1):
    array = np.random.default_rng(sum(shape)).normal(size=(channels, *shape)).astype(np.float32)
    return Volume(array=array, affine=np.diag([0.004, 0.004, 0.003, 1]))


def in_memory(model, volume, how):
    """What the sliding window over the whole volume gives, (i, j, k)."""
    image = torch.from_numpy(np.ascontiguousarray(volume.array.transpose(0, 3, 2, 1), np.float32))
    labels = predict_labels(
        model,
        image,
        patch_size=how.patch_size,
        classes=how.classes,
        step=how.step,
        mirror=how.mirror,
        combine=how.combine,
        batch_size=how.batch_size,
    )
    return labels.transpose(2, 1, 0)


sizes = st.tuples(*[st.integers(1, 20)] * 3)


@given(
    st.tuples(*[st.integers(1, 16)] * 3),
    st.tuples(*[st.integers(4, 12)] * 3),
    st.sampled_from([0.5, 0.75, 1.0]),
    st.sampled_from([(), (1,), (0, 2)]),
    st.sampled_from(["probabilities", "logits"]),
    st.integers(1, 3),
    st.integers(3, 7),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_the_seams_are_those_of_the_whole_volume(shape, patch, step, mirror, combine, batch, chunk, wide, by_decision):
    volume = noise(shape, channels=2)
    how = SlidingWindow(
        patch_size=patch, classes=3, step=step, mirror=mirror, combine=combine, batch_size=batch, autocast=False
    )
    streamed = stream_windows(
        network(channels=2),
        big(volume),
        how=how,
        labels=LABELS,
        column=(chunk * wide[0], chunk * wide[1]),
        chunk=chunk,
        decide=(lambda scores: scores.argmax(0)) if by_decision else None,
    )
    assert np.array_equal(streamed.loaded().array, in_memory(network(channels=2), volume, how))


@given(st.data(), sizes)
@settings(max_examples=10, deadline=None)
def test_from_any_block_on_it_is_the_same(data, shape):
    how = SlidingWindow(patch_size=(6, 5, 4), classes=3, mirror=False)
    streamed = stream_windows(network(), big(noise(shape)), how=how, labels=LABELS, column=(8, 12), chunk=4)
    blocks = list(streamed.voxels.compute(0))
    assert len(blocks) == len(streamed.voxels.regions)
    first = data.draw(st.integers(0, len(blocks)))
    again = list(streamed.voxels.compute(first)) if first < len(blocks) else []
    assert len(again) == len(blocks) - first
    assert all(np.array_equal(one, other) for one, other in zip(again, blocks[first:], strict=True))


def test_mean_scores_are_decided():
    volume, how = noise((9, 12, 15)), SlidingWindow(patch_size=(6, 6, 6), classes=2, mirror=False)
    seen = []

    def decide(scores):
        seen.append(scores.sum(0))
        return (scores[1] > 0.45).to(torch.uint8)

    found = stream_windows(network(2), big(volume), how=how, labels=LABELS[:1], column=(6, 6), chunk=6, decide=decide)
    image = torch.from_numpy(np.ascontiguousarray(volume.array.transpose(0, 3, 2, 1)))
    scores = predict_scores(network(2), image, patch_size=(6, 6, 6), classes=2, mirror=False)
    want = (scores[1] > 0.45).numpy().transpose(2, 1, 0)
    assert np.array_equal(found.loaded().array, want)
    assert all(torch.allclose(total, torch.ones_like(total), atol=1e-5) for total in seen)


def test_empty_windows_are_not_given_to_the_network():
    array = np.zeros((1, 16, 16, 32), np.uint16)
    array[0, 4:8, 4:8, 20:28] = 1000
    volume = Volume(array=array, affine=np.eye(4))
    asked = []
    model = network(2)

    def counting(windows):
        asked.append(len(windows))
        assert (windows.amax((1, 2, 3, 4)) > 5).all()
        return model(windows)

    how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)
    whole = in_memory(model, volume, how)
    kept = stream_windows(
        counting, big(volume), how=how, labels=LABELS[:1], column=(16, 16), chunk=8, empty_up_to=5
    ).loaded()
    assert 0 < sum(asked) < 7 * 3 * 3
    assert not kept.array[:, :, :8].any()
    assert np.array_equal(kept.array[4:8, 4:8, 20:28], whole[4:8, 4:8, 20:28])  # every window there has a voxel


@pytest.mark.parametrize("empty_up_to", [None, 10.0])
@pytest.mark.parametrize("first", [0, 3])
def test_progress_is_told_in_windows(empty_up_to, first):
    told = {"total": 0, "done": 0}

    @contextmanager
    def sink(description, total):
        assert description == "windows"
        told["total"] = total
        yield lambda steps=1, /, **figures: told.update(done=told["done"] + steps)

    how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)
    volume = big(noise((12, 20, 24)))
    streamed = stream_windows(
        network(2), volume, how=how, labels=LABELS[:1], column=(8, 8), chunk=8, empty_up_to=empty_up_to
    )
    with progress.shown_by(sink):
        assert len(list(streamed.voxels.compute(first))) == len(streamed.voxels.regions) - first
    assert told["done"] == told["total"] > 0


class Watched:
    """Voxels that tell what was read of them at once."""

    def __init__(self, array):
        self.held = Held(array)
        self.read_at_once = []

    def __getattr__(self, name):
        return getattr(self.held, name)

    def read(self, region):
        found = self.held.read(region)
        self.read_at_once.append(found.size)
        return found


def test_what_is_read_at_once_does_not_grow_with_the_volume():
    most = []
    for length in (32, 96):
        voxels = Watched(np.zeros((1, 24, 24, length), np.uint8))
        volume = BigVolume(voxels=voxels, affine=np.eye(4))
        how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)
        streamed = stream_windows(network(2), volume, how=how, labels=LABELS[:1], column=(8, 8), chunk=8)
        for _ in streamed.voxels.compute(0):
            pass
        most.append(max(voxels.read_at_once))
        assert sum(voxels.read_at_once) < 9 * volume.voxels.array.size  # windows share what was read
    assert most[0] == most[1] <= 8 * 24 * 24


def test_blocks_with_a_margin():
    volume = noise((9, 10, 11))

    def blurred(window):
        assert window.shape == (1, 7, 7, 7)
        total = sum(np.roll(window[0], shift, axis) for axis in range(3) for shift in (-1, 1))
        return (total > 0).astype(np.uint8)

    found = stream_blocks(blurred, big(volume), block=5, halo=1, labels=LABELS[:1]).loaded().array
    padded = np.pad(volume.array[0], 1, mode="edge")
    total = sum(np.roll(padded, shift, axis) for axis in range(3) for shift in (-1, 1))[1:-1, 1:-1, 1:-1]
    sure = np.abs(total) > 1e-4  # the order of a sum may turn a sign at 0
    assert np.array_equal(found[sure], (total > 0)[sure])


def test_empty_blocks_are_background():
    volume = Volume(array=np.zeros((1, 8, 8, 8), np.uint8), affine=np.eye(4))
    found = stream_blocks(lambda _: pytest.fail("asked"), big(volume), block=4, halo=1, labels=[], empty_up_to=0)
    assert not found.loaded().array.any()


@given(sizes, st.tuples(*[st.integers(-6, 12)] * 3), st.tuples(*[st.integers(1, 15)] * 3))
@settings(max_examples=60, deadline=None)
def test_reading_beyond_the_border(shape, at, size):
    volume = noise(shape)
    at = [min(first, n - 1) for first, n in zip(at, shape[::-1], strict=True)]
    box = [slice(max(first, 1 - n), max(first, 1 - n) + n) for first, n in zip(at, size, strict=True)]
    padded = np.pad(volume.array[0].transpose(2, 1, 0), 40)
    want = padded[tuple(slice(part.start + 40, part.stop + 40) for part in box)]
    assert np.array_equal(read_padded(big(volume), box)[0], want)


def test_a_column_of_whole_chunks():
    how = SlidingWindow(patch_size=(8, 8, 8), classes=2)
    with pytest.raises(ValueError, match="not made of whole chunks of 8"):
        stream_windows(network(2), big(noise((8, 8, 8))), how=how, labels=[], column=(12, 8), chunk=8)


def test_scores_that_are_no_numbers(tmp_path):
    how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)

    def broken(windows):
        return torch.full((len(windows), 2, 8, 8, 8), float("nan"))

    streamed = stream_windows(broken, big(noise((8, 8, 8))), how=how, labels=LABELS[:1], column=(8, 8), chunk=8)
    with pytest.raises(OmlabError, match="not finite"):
        omlab.write(streamed, tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_it_tells_how_sure_it_is_as_the_whole_volume_would(combine):
    volume = noise((11, 13, 21))
    how = SlidingWindow(patch_size=(6, 6, 6), classes=3, mirror=False, combine=combine)
    streamed = stream_windows(network(), big(volume), how=how, labels=LABELS, column=(8, 8), chunk=4)
    assert streamed.tells() == {}
    labels = streamed.loaded().array
    told = streamed.tells()["structures"]
    image = torch.from_numpy(np.ascontiguousarray(volume.array.transpose(0, 3, 2, 1)))
    scores = predict_scores(network(), image, patch_size=(6, 6, 6), classes=3, mirror=False, combine=combine)
    shares = scores.softmax(0) if combine == "logits" else scores / scores.sum(0)
    ranked = shares.sort(0, descending=True).values.numpy().transpose(0, 3, 2, 1)
    for label in LABELS:
        inside = labels == label.value
        assert told[label.name]["ml"] == pytest.approx(inside.sum() * volume.grid.voxel_ml, rel=1e-5)
        assert told[label.name]["margin"] == pytest.approx((ranked[0] - ranked[1])[inside].mean(), abs=1e-4)


def test_a_result_that_is_gone_on_with_tells_the_same(tmp_path):
    volume, model = big(noise((12, 20, 24))), network()
    how = SlidingWindow(patch_size=(6, 6, 6), classes=3, mirror=False)
    left = [25]

    def failing(windows):
        left[0] -= 1
        if left[0] < 0:
            raise OmlabError("The lamp went out.")
        return model(windows)

    def streamed(scores):
        return stream_windows(scores, volume, how=how, labels=LABELS, column=(8, 8), chunk=4)

    begun, whole = streamed(failing), streamed(model)
    with pytest.raises(OmlabError, match="lamp"):
        OmeZarr().write(begun, tmp_path / "a.ome.zarr")
    assert begun.tells() == {}
    later = streamed(model)
    OmeZarr().write(later, tmp_path / "a.ome.zarr")
    whole.loaded()
    assert later.tells()["structures"] == whole.tells()["structures"]
    again = streamed(lambda _: pytest.fail("asked"))
    with pytest.warns(OmlabWarning, match="whole already"):
        OmeZarr().write(again, tmp_path / "a.ome.zarr")
    assert again.tells() == later.tells()
    assert later.telling({"gate": {}}).tells() == {"gate": {}, **later.tells()}


def test_a_region_alone_is_not_counted_as_the_whole():
    how = SlidingWindow(patch_size=(6, 6, 6), classes=3, mirror=False)
    streamed = stream_windows(network(), big(noise((12, 12, 12))), how=how, labels=LABELS, column=(4, 4), chunk=4)
    streamed.read((slice(8, 12), slice(8, 12), slice(8, 12)))
    assert streamed.tells() == {}
    streamed.loaded()
    told = streamed.tells()
    streamed.read((slice(0, 4), slice(0, 4), slice(0, 4)))
    assert streamed.tells() == told != {}
