"""Videos are read by time, lazily, upright, and wrong ones in one sentence."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest
import videos

from omlab.errors import InputError, OmlabWarning, UsageError
from omlab_video.clip import Clip
from omlab_video.io.decoding import read_video
from omlab_video.io.video_file import OverlayVideo
from omlab_video.over_time import LabelMapClip


def shades(frames: np.ndarray) -> list[int]:
    """The numbers of frames by their grey."""
    return [round((float(frame[30:, 30:].mean()) - 8) / 10) for frame in frames]


def test_a_part_of_a_clip_is_a_clip(tmp_path: Path) -> None:
    clip = read_video(videos.write(tmp_path / "a.mp4"))
    part = clip.part(5, 12).part(2, 7)
    assert (part.shape, part.rate, part.times[0]) == ((5, 48, 64), pytest.approx(25), 0)
    assert shades(part.read([4, 0])) == [11, 7]
    with pytest.raises(UsageError, match="has 20 frames: none from 15 to before 21"):
        clip.part(15, 21)


def test_frames_are_found_by_their_index_in_any_order(tmp_path: Path) -> None:
    clip = read_video(videos.write(tmp_path / "a.mp4"))
    assert clip.shape == (20, 48, 64)
    assert clip.rate == pytest.approx(25)
    wanted = [17, 3, 3, 0, 19, 8]
    assert shades(clip.read(wanted)) == wanted
    assert shades(np.stack(list(clip.stream()))) == list(range(20))


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    times = [0, 40, 200, 210, 1000, 3000]
    clip = read_video(videos.write(tmp_path / "a.mkv", milliseconds=times))
    np.testing.assert_allclose(clip.times, np.array(times) / 1000)
    assert [clip.at(seconds) for seconds in (0.0, 0.205, 0.999, 1.0, 9.0)] == [0, 2, 3, 4, 5]
    assert shades(clip.read([4, 5])) == [4, 5]


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    clip = read_video(videos.turned(videos.write(tmp_path / "a.mp4")))
    frame = clip.read([2])[0]
    assert clip.shape == (20, 64, 48)
    assert frame[:10, -10:].min() > 200  # the corner at the top left is at the top right
    assert frame[:10, :10].max() < 100


def test_ten_bits_are_read_with_a_warning(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mkv", pix_fmt="yuv420p10le")
    with pytest.warns(OmlabWarning, match="10 bits"):
        clip = read_video(path)
    assert shades(clip.read([1, 11])) == [1, 11]


def test_a_clip_goes_to_another_process(tmp_path: Path) -> None:
    clip = read_video(videos.write(tmp_path / "a.mp4"))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert shades(pool.submit(clip.read, [7]).result()) == [7]
    assert clip.nbytes < 10_000


def test_a_file_that_is_cut_short_gives_what_it_has_or_a_sentence(tmp_path: Path) -> None:
    whole = videos.write(tmp_path / "a.ts").read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    clip = read_video(path)
    assert 0 < len(clip) < 20
    assert shades(clip.read([0, 1])) == [0, 1]
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(videos.write(tmp_path / "a.mp4").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.mp4 is no video, or it is damaged or cut short"):
        read_video(cut)
    whole = videos.write(tmp_path / "b.mp4", options={"movflags": "faststart"}).read_bytes()
    cut.write_bytes(whole[: whole.index(b"mdat") + 800])  # its index tells of frames that are not there
    with pytest.warns(OmlabWarning, match="is cut short"):
        clip = read_video(cut)
    assert 2 < len(clip) < 20
    assert shades(np.stack(list(clip.stream()))) == list(range(len(clip)))


def test_an_empty_file_a_text_and_a_missing_one_are_told(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("no video")
    for path, said in ((empty, r"is empty \(0 bytes\)"), (text, "is no video"), (tmp_path / "x.mp4", "does not exist")):
        with pytest.raises(InputError, match=said):
            read_video(path)


def test_a_video_without_frames_is_told(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "none.mp4"), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"none\.mp4 has a video stream without frames"):
        read_video(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match="holds no video, only audio"):
        read_video(tmp_path / "sound.mkv")


def test_an_index_beyond_the_clip_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the frames 0 to 19, not 20"):
        read_video(videos.write(tmp_path / "a.mp4")).read([20])


def test_masks_are_written_over_their_clip(tmp_path: Path) -> None:
    clip = Clip.of(np.full((4, 32, 48, 3), 100, np.uint8), rate=10)
    masks = np.zeros((4, 32, 48), np.uint8)
    masks[2, :16] = 1
    OverlayVideo().write(LabelMapClip(array=masks), tmp_path / "over.mp4", inputs={"clip": clip})
    found = read_video(tmp_path / "over.mp4")
    np.testing.assert_allclose(found.times, clip.times, atol=1e-3)
    frames = found.read([1, 2]).astype(int)
    assert np.abs(frames[0] - 100).max() < 8
    assert np.abs(frames[1, :14] - 100).max() > 30
    assert np.abs(frames[1, 20:] - 100).max() < 15
    with pytest.raises(UsageError, match="drawn over a clip"):
        OverlayVideo().write(LabelMapClip(array=masks[:2]), tmp_path / "wrong.mp4", inputs={"clip": clip})
    assert not (tmp_path / "wrong.mp4").exists()
