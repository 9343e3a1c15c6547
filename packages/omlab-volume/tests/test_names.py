"""Which contour is which organ: names in pictures, and what a picture says of itself in words."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from omlab_payloads.pictures.names import around, draw_names
from omlab_volume.pictures.picture import names_in, picture
from omlab_volume.pictures.planes import planes
from omlab_volume.volume import Label, LabelMap, Volume

LABELS = [Label(value=1, name="liver", colour=(0, 165, 240)), Label(value=2, name="spleen", colour=(135, 255, 0))]
AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def scene(*, spleen=True):
    """A liver, and a spleen of three voxels across."""
    array = np.zeros((60, 60, 30), np.uint8)
    array[30:55, 15:45, 5:25] = 1
    array[8:11, 28:31, 12:18] = 2 if spleen else 0
    return LabelMap(array=array, affine=AFFINE, labels=LABELS)


@pytest.fixture
def volume():
    return Volume(array=np.zeros((1, 60, 60, 30), np.float32), affine=AFFINE, intensity="hu")


def axial(volume, labelmap, target=None):
    return planes(volume, labelmap, target=target, at=(42, 30, 15), height=440)[0]


def written(panel, names, taken=()):
    blank = Image.new("RGBA", panel.picture.shape[1::-1])
    return draw_names(ImageDraw.Draw(blank), names, size=blank.size, taken=taken), np.asarray(blank)[..., 3] > 0


def test_a_name_stands_in_its_organ_and_beside_one_too_small_for_it(volume):
    labelmap = scene()
    panel = axial(volume, labelmap)
    liver, spleen = names_in(panel, LABELS, [])
    _, ink = written(panel, [liver])
    rows, columns = np.nonzero(ink)
    (right, bottom), (left, top) = panel.place((30, 15, 15)), panel.place((54, 44, 15))
    assert left < columns.min() < columns.max() < right
    assert top < rows.min() < rows.max() < bottom
    _, ink = written(panel, [spleen])
    x, y = panel.place((9, 29, 15))
    assert not ink[round(y) - 5 : round(y) + 5, round(x) - 5 : round(x) + 5].any()
    assert 20 < np.nonzero(ink)[1].mean() - x < 60 or 20 < x - np.nonzero(ink)[1].mean() < 60


def test_names_never_cover_each_other_or_a_mark(volume):
    panel = axial(volume, scene())
    names = names_in(panel, LABELS, [])
    twice = names[:1] * 3
    found, ink = written(panel, twice)
    alone = written(panel, names[:1])[1].sum()
    assert len(found) > 1
    assert ink.sum() == alone * len(found)
    mark = around((names[0].place.x, names[0].place.y))
    _, ink = written(panel, names[:1], taken=[mark])
    left, top, right, bottom = map(round, mark)
    assert not ink[top + 2 : bottom - 2, left + 2 : right - 2].any()
    assert written(panel, names, taken=[(0, 0, 440, 440)])[0] == []


def test_what_the_result_lacks_is_named_in_white(volume):
    panel = axial(volume, scene(spleen=False), target=scene())
    names = names_in(panel, LABELS, LABELS)
    assert [(name.words, name.is_of_target) for name in names] == [("liver", False), ("spleen", True)]
    assert min(names[1].colour) > 230 > min(names[0].colour)


def test_a_picture_says_which_slices_and_organs_it_shows(volume):
    said = Image.open(io.BytesIO(picture(volume, scene(spleen=False), target=scene()))).text["Description"]
    assert said == (
        "Axial slice 15 of 30 from the feet (S 56.0 mm), coronal slice 30 of 60 from the back (A 58.0 mm), sagittal "
        "slice 10 of 60 from the left (R 18.0 mm). Filled: liver. White lines: the reference. With a white name, where "
        "the result has none: spleen."
    )
