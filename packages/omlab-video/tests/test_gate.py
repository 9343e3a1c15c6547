"""What the gate says of clips."""

import numpy as np
import pytest

from omlab import About, Sample
from omlab_testkit.held import Held
from omlab_video.clip import Clip
from omlab_video.gate import check
from omlab_video.survey import survey

Y, X = np.mgrid[:80, :96]


def clip(*, frames=20, moving=True):
    """A bright disc on a pattern, that moves."""
    places = [np.hypot(Y - 40, X - 30 - 2 * t * moving) < 15 for t in range(frames)]
    grey = [40 + 60 * np.sin(Y / 9) ** 2 + 80 * place for place in places]
    return np.stack([np.stack([one, one / 2, one / 3], axis=2) for one in grey]).astype(np.uint8)


def doubts_of(array, **expected):
    return check(Clip.of(array, name="colon.mp4"), expected)["doubts"]


@pytest.mark.parametrize("frames", [1, 2, 20])
def test_good_clips_are_left_alone(frames):
    assert doubts_of(clip(frames=frames), side=[64, 512], grey=False) == []


def test_a_black_beginning_is_nothing_to_speak_of():
    array = clip()
    array[:6] = 0
    assert doubts_of(array) == []
    array[:12] = 0
    (doubt,) = doubts_of(array)
    assert doubt == (
        "colon.mp4: 3 of 5 frames that were looked at are doubtful, such as frame 0: It shows nothing: all pixels are "
        "alike."
    )


def test_frames_are_held_against_what_is_expected():
    (doubt,) = doubts_of(clip(), side=[200, 512])
    assert "80 x 96 pixels; the model was made for 200 to 512" in doubt


def test_a_still_is_named():
    (doubt,) = doubts_of(clip(moving=False))
    assert "shows no movement" in doubt


def test_trained_models_expect_clips_like_those_that_were_surveyed():
    samples = [Sample(id=str(n), inputs={"clip": Clip.of(clip(frames=n))}) for n in (1, 20)]
    found = survey(Held(samples=samples, says=About(inputs={"clip": "clip"})).cases("train"), "clip")
    assert found == {"cases": 2, "expects": {"clip": {"side": [40, 160], "grey": False}}}
    expected = found["expects"]["clip"]
    assert doubts_of(clip(), **expected) == []
    (doubt,) = doubts_of(clip()[:, ::4, ::4], **expected)
    assert "20 x 24 pixels; the model was made for 40 to 160" in doubt
