"""Encoders of images on slides: what they see, what comes of it, memory, and what stops them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import omlab
from omlab.errors import InputError, OmlabWarning, PluginError
from omlab.payloads import Inputs
from omlab_image import Image
from omlab_payloads.embedding import Embedding
from omlab_slide.bag import Bag
from omlab_slide.encoding import SlideEncoder
from omlab_slide.slide import Slide, open_slide
from omlab_slide.testing import draw_slide, held, write_pyramid

SETTINGS = {"mpp": 4.0, "patch": 32, "overlap": 0, "least_share": 0.5, "tissue": "saturation"}


class Colours:
    """The mean colour of a patch; notes what it is given."""

    def __init__(self, *, fails_at: int = -1) -> None:
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.seen: list[Image] = []
        self.fails_at = fails_at

    def prepare(self, verb: str, inputs: Inputs, /, *, factor: float = 1.0) -> NDArray[np.float32]:
        image = omlab.take(inputs, "image", Image)
        self.threads.add(threading.get_ident())
        self.seen.append(image)
        return np.asarray(image.array.mean(axis=(0, 1)) * factor, np.float32)

    def embed(self, batch: Sequence[NDArray[np.float32]], /, *, factor: float = 1.0) -> Iterator[Any]:
        self.batches.append(len(batch))
        for vector in batch:
            if len(self.batches) == self.fails_at:
                yield InputError("The patch is odd.")
            yield Embedding(vector=vector)


@pytest.fixture
def slide() -> Slide:
    return held(draw_slide((1024, 768), seed=1), mpp=2.0)


def bag_of(slide: Slide, encoder: Any = None, **more: Any) -> Bag:
    made = SlideEncoder(encoder or Colours(), settings={**SETTINGS, **more}, batch=8)
    [bag] = made.embed([made.prepare("embed", {"slide": slide})])
    return bag


def test_features_are_those_of_the_patches(slide: Slide) -> None:
    model = Colours()
    bag = bag_of(slide, model)
    assert bag.is_computed
    assert model.batches == [1]  # one empty patch, which tells how many features there are
    features = bag.features[:]
    assert features.shape == (len(bag), 3)
    for number in (0, len(bag) // 2, len(bag) - 1):
        x, y = (int(value) for value in bag.coords[number])
        wanted = slide.read_scaled((x, y), downsample=2.0, size=(32, 32)).mean(axis=(0, 1))
        assert features[number] == pytest.approx(wanted, abs=1e-3)
    assert bag.size0 == 64
    assert bag.size == 32
    assert bag.mpp == 2.0
    assert bag.target_mpp == 4.0
    assert max(model.batches) == 8
    assert threading.get_ident() in model.threads  # the empty patch
    assert len(model.threads) > 1  # the others were made ready by threads of their own
    assert {image.spacing for image in model.seen} == {(0.004, 0.004)}
    assert (bag.share >= 0.5).all()


def test_chunks_are_the_same_wherever_the_work_begins(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omlab_slide.encoding.slide_encoder.chunk_rows", lambda width, dtype: 16)
    bag = bag_of(slide, least_share=0.0)
    assert bag.features.rows == 16
    whole = list(bag.features.compute(0))
    assert len(whole) == bag.features.chunks > 3
    for first in (1, 3):
        for ours, theirs in zip(bag.features.compute(first), whole[first:], strict=True):
            assert (ours == theirs).all()
    assert (bag.features[20:40] == np.concatenate(whole)[20:40]).all()


def test_options_reach_the_encoder(slide: Slide) -> None:
    made = SlideEncoder(Colours(), settings=SETTINGS)
    planned = made.prepare("embed", {"slide": slide}, factor=2.0)
    [once], [twice] = list(made.embed([planned], factor=1.0)), list(made.embed([planned], factor=2.0))
    assert twice.features[:4] == pytest.approx(2 * once.features[:4])
    assert twice.encoder["options"] == {"factor": 2.0}


def test_a_slide_that_cannot_be_encoded_says_why(slide: Slide) -> None:
    with pytest.raises(InputError, match="micrometres a pixel"):
        bag_of(replace(slide, mpp=None))
    with pytest.warns(OmlabWarning, match="No tissue"), pytest.raises(InputError, match="shows no tissue"):
        bag_of(held(draw_slide((600, 500), blobs=0), mpp=2.0))
    with pytest.raises(InputError, match="no patch of 500 pixels at 4 um with 100% tissue"):
        bag_of(slide, patch=500, least_share=1.0)
    with pytest.raises(InputError, match=r"a drawn slide has patches, from \d+, \d+ on, .*: The patch is odd"):
        bag_of(slide, Colours(fails_at=3)).features[:]


def test_an_encoder_that_breaks_its_promise_is_named(slide: Slide) -> None:
    class Other:
        def __init__(self, answers: Any) -> None:
            self.answers = answers

        def embed(self, batch: Sequence[Any], /) -> Any:
            return self.answers(batch)

    with pytest.raises(PluginError, match="not an embedding"):
        bag_of(slide, Other(lambda batch: [3 for _ in batch]))
    with pytest.raises(PluginError, match="gave 0 vectors"):
        bag_of(slide, Other(lambda batch: []))
    with pytest.raises(InputError, match="NaN"):
        bag_of(slide, Other(lambda batch: [Embedding(vector=np.array([np.nan], np.float32)) for _ in batch]))


def test_a_corrupt_tile_stops_nothing_and_is_told(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tiff", draw_slide((1024, 768), seed=1), mpp=2.0, corrupt=[(0, 1, 1)])
    bag = bag_of(open_slide(path), mpp=2.0, patch=64)
    with pytest.warns(OmlabWarning, match=r"of \d+ patches have parts that could not be read"):
        features = bag.features[:]
    assert np.isfinite(features).all()
    assert bag.slide["name"] == "a.tiff"
    assert len(bag.slide["sampled_sha256"]) == 64


def test_no_more_than_some_batches_are_read_ahead(slide: Slide) -> None:
    model = Colours()
    bag = bag_of(slide, model, patch=8, least_share=0.0)
    assert len(bag) > 1000
    before = len(model.seen)
    tiles = bag.features.compute(0)
    next(tiles)
    assert len(model.seen) - before <= bag.features.rows + 400
    tiles.close()
