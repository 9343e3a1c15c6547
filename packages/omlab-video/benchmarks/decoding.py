"""Frames a second of a video as arrays: our lazy reader, a bare PyAV loop, and torchcodec where it can be loaded.

    python benchmarks/decoding.py [--frames 600] [--rounds 3]

A drawn H.264 film of 640 x 512 pixels. `all` reads every frame in order; `some` 8 frames at equal distances, opening
included; `beside a network` reads all while something waits about as long for each frame as decoding takes: there a
bare loop decodes and waits in turn, and `omlab_video.ahead` decodes during the wait. Ways take turns in one process,
with as many decoding threads as FFmpeg takes.
`cpu_s` is the least processor time of a round, which says more than the clock on a machine that is busy; ratios are to
the bare loop of the same run. torchcodec needs FFmpeg's libraries, which PyAV brings for itself alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from omlab_testkit.rows import append_rows
from omlab_video.ahead import ahead
from omlab_video.io.decoding import read_video
from omlab_video.io.video_file import write_video

RESULTS = Path(__file__).with_name("results.csv")
ROWS, COLUMNS, RATE, FEW = 512, 640, 25, 8
BARE, OURS, CODEC = "bare PyAV", "omlab", "torchcodec"

Work = Callable[[], Iterable[Any]]


def drawn(frames: int) -> Iterator[NDArray[np.uint8]]:
    """Texture that slides, as under a moving camera."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (ROWS // 8, (COLUMNS + 2 * frames) // 8 + 1, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    return (texture[:, 2 * time : 2 * time + COLUMNS] for time in range(frames))


def bare(path: Path, *, every: int = 1) -> Iterator[Any]:
    """What anybody would write; of every so-manieth frame the others are decoded too."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0:
                yield frame.to_ndarray(format="rgb24")


def by_torchcodec(path: Path, *, every: int = 1) -> Iterator[Any]:
    """Frames by their index."""
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found,import-untyped]

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=0, dimension_order="NHWC")
    return (decoder[number] for number in range(0, len(decoder), every))


def ways(path: Path, *, frames: int) -> dict[str, dict[str, Work]]:
    """What is measured, by benchmark and way."""
    every = frames // FEW
    clip = read_video(path)
    chosen = list(range(0, frames, every))
    wait = _wait(lambda: bare(path), frames)
    found: dict[str, dict[str, Work]] = {
        "all": {BARE: lambda: bare(path), OURS: lambda: read_video(path).stream()},
        "some": {
            BARE: lambda: bare(path, every=every),
            OURS: lambda: read_video(path).stream(chosen),
        },
        "beside a network": {
            BARE: lambda: map(wait, bare(path)),
            OURS: lambda: map(wait, ahead(clip.stream())),
        },
    }
    try:
        next(iter(by_torchcodec(path)))
    except (ImportError, RuntimeError, OSError) as error:
        print(f"torchcodec is left out: {str(error).splitlines()[0]}")
    else:
        found["all"][CODEC] = lambda: by_torchcodec(path)
        found["some"][CODEC] = lambda: by_torchcodec(path, every=every)
    return found


def _wait(work: Work, frames: int) -> Callable[[Any], Any]:
    seconds = measured(work)[0] / frames

    def wait(frame: Any) -> Any:
        time.sleep(seconds)
        return frame

    return wait


def measured(work: Work) -> tuple[float, float, int]:
    """Seconds by the clock, seconds of processor time, and how many frames came."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in work())
    return time.perf_counter() - wall, time.process_time() - cpu, count


def compared(benchmark: str, some: dict[str, Work], *, rounds: int) -> list[dict[str, Any]]:
    """Rows of all ways."""
    times: dict[str, list[tuple[float, float, int]]] = {way: [] for way in some}
    for _ in range(rounds):
        for way, work in some.items():
            times[way].append(measured(work))
    assert len({count for rows in times.values() for _, _, count in rows}) == 1
    least = {way: (min(wall for wall, _, _ in rows), min(cpu for _, cpu, _ in rows)) for way, rows in times.items()}
    return [
        {
            "benchmark": benchmark,
            "way": way,
            "frames": rows[0][2],
            "rounds": rounds,
            "p50_s": round(statistics.median(wall for wall, _, _ in rows), 3),
            "cpu_s": round(least[way][1], 3),
            "frames_a_second": round(rows[0][2] / least[way][0], 1),
            "time_ratio": round(least[way][0] / least[BARE][0], 3),
            "cpu_ratio": round(least[way][1] / least[BARE][1], 3),
        }
        for way, rows in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, drawn(asked.frames), times=[time / RATE for time in range(asked.frames)])
        found = ways(path, frames=asked.frames)
        rows = [row for name, some in found.items() for row in compared(name, some, rounds=asked.rounds)]
    append_rows(RESULTS, [{**row, "av": av.__version__} for row in rows], threads=1)


if __name__ == "__main__":
    main()
