"""What the gate says of pictures."""

import numpy as np
import pytest

from omlab.roles import About, Sample
from omlab_image.gate import check
from omlab_image.image import Image
from omlab_image.survey import MOST_CASES, survey
from omlab_testkit.held import Held

Y, X = np.mgrid[:128, :160]
SCENE = (40 + 60 * np.sin(Y / 9) ** 2 + 80 * (np.hypot(Y - 60, X - 80) < 40)).astype(np.uint8)
COLOURS = np.stack([SCENE, SCENE // 2, SCENE // 3], axis=2)
SURROUNDED = np.where(np.hypot(Y - 64, X - 80) < 60, SCENE, 0).astype(np.uint8)  # a fundus: black around it


@pytest.mark.parametrize("array", [SCENE, COLOURS, SURROUNDED, SCENE.astype(np.uint16) << 8, SCENE / np.float32(255)])
def test_good_pictures_are_left_alone(array):
    assert check(Image(array=array), {"side": [64, 512]})["doubts"] == []


@pytest.mark.parametrize(
    ("array", "expected", "said"),
    [
        (np.full((80, 80), 7, np.uint8), {}, "shows nothing"),
        ((SCENE > 120).astype(np.uint8) * 255, {}, "2 different values only: is it a mask"),
        (np.where(SCENE > 70, 255, SCENE).astype(np.uint8), {}, "overexposed"),
        (SCENE.astype(np.uint16) * 8, {}, "of its range from black to white"),
        (SCENE[:40], {}, "4.0 times as long as wide"),
        (SCENE[:40, :40], {"side": [64, 512]}, "40 x 40 pixels; the model was made for 64 to 512"),
        (COLOURS, {"grey": True}, "colours; the training images were grey"),
        (SCENE, {"grey": False}, "is grey; the training images had colours"),
    ],
)
def test_doubtful_pictures_are_named(array, expected, said):
    (doubt,) = check(Image(array=array), expected)["doubts"]
    assert said in doubt
    assert doubt.startswith("The image: ")


def test_the_depth_that_is_known_is_the_range():
    assert check(Image(array=SCENE.astype(np.uint16) * 8, bit_depth=11), {})["doubts"] == []
    assert check(Image(array=np.repeat(SCENE[..., None], 3, axis=2)), {"grey": True})["doubts"] == []


def test_of_large_pictures_every_few_pixels_tell_the_same():
    large = Image(array=SCENE.repeat(9, axis=0).repeat(9, axis=1))
    found, wanted = check(large, {}), check(Image(array=SCENE), {})
    assert found.pop("doubts") == wanted.pop("doubts") == []
    assert found == pytest.approx(wanted, abs=0.02)


def surveyed(*arrays):
    samples = [Sample(id=str(n), inputs={"image": Image(array=array)}) for n, array in enumerate(arrays)]
    return survey(Held(samples=samples, says=About(inputs={"image": "image"})).cases("train"), "image")


def test_trained_models_expect_images_like_those_that_were_surveyed():
    expected = surveyed(COLOURS, COLOURS[:70])["expects"]["image"]
    assert expected == {"side": [35, 256], "grey": False}
    assert check(Image(array=COLOURS), expected)["doubts"] == []
    assert len(check(Image(array=SCENE[::4, ::4]), expected)["doubts"]) == 2
    assert surveyed(SCENE, np.repeat(SCENE[..., None], 3, axis=2))["expects"]["image"]["grey"] is True
    assert "grey" not in surveyed(SCENE, COLOURS)["expects"]["image"]


def test_a_survey_reads_so_many_images_at_most():
    assert surveyed(*[SCENE] * (MOST_CASES + 1))["cases"] <= MOST_CASES
    assert surveyed() == {"cases": 0}
