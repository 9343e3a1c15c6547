"""Chosen frames are those that were measured upstream (Endo-FM), and always lie in the video."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import UsageError
from omlab_video.sampling import around, clip_range, spread


def test_short_videos_repeat_their_last_frame() -> None:
    start, end = clip_range(frames=150, length=256)
    assert spread(start, end, count=8, frames=150).tolist() == [0, 36, 72, 109, 145, 149, 149, 149]


def test_clips_start_at_equal_distances() -> None:
    assert clip_range(frames=300, length=256, number=2, clips=3) == pytest.approx((29.33333, 284.33333))
    with pytest.raises(UsageError, match="Of 3 clips"):
        clip_range(frames=300, length=256, number=3, clips=3)


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 500), st.floats(0, 400), st.integers(1, 40), st.integers(1, 300))
def test_indices_rise_and_lie_in_the_video(start: float, length: float, count: int, frames: int) -> None:
    found = spread(start, start + length, count=count, frames=frames).tolist()
    assert len(found) == count
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] < frames


def test_neighbours_end_where_the_video_does() -> None:
    assert around(1, reach=3, frames=10).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError, match="Frame 10 is none"):
        around(10, reach=3, frames=10)
