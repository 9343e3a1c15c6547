"""The format `boxes-over-time`: the boxes of each frame as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from omlab.errors import InputError, OutputError, UsageError
from omlab.files import writing
from omlab.payloads import Payload
from omlab_video.over_time import BoxesClip


class BoxesOverTime:
    """Reads and writes `{"frames": [[{"near": [x, y], "far": [x, y], "label": ..., "score": ...}]]}`."""

    def read(self, path: Path, *, kind: str) -> BoxesClip:
        """The boxes of a file. Raises `InputError`."""
        try:
            return BoxesClip.from_value(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, UsageError) as error:
            raise InputError(f"{path} holds no {BoxesClip.kind}: {error}") from error

    def write(self, payload: Payload, path: Path, *, inputs: Mapping[str, Payload] = MappingProxyType({})) -> None:
        """Write one file. Raises `OutputError`."""
        if not isinstance(payload, BoxesClip):
            raise OutputError(f"{path}: boxes over time are a {BoxesClip.kind}, not a '{payload.kind}'.")
        with writing(path.name, path.parent):
            path.write_text(json.dumps(payload.to_value()), encoding="utf-8")
