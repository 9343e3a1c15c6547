"""Embeddings of many cases in one safetensors file: the feature store of probes, k-NN, retrieval and MIL.

The tensor `embeddings` is (N, D) of float32; the metadata hold `ids`, a JSON list of N texts, and `model`. Rows lie
one after the other, so that one is read alone and all are memory-mapped.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omlab.errors import InputError, OutputError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_payloads.embedding import Embedding
from omlab_payloads.kinds import stem
from omlab_payloads.lines import Stamp, place_of, stamp_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENSOR = "embeddings"
MOST_HEADER = 100_000_000
"""Bytes of a header that safetensors reads."""


def open_embeddings(path: Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The ids of a file of embeddings, and its matrix (N, D), memory-mapped and read only: rows are read when used.

    Raises `InputError` that names the file.
    """
    import numpy as np

    store = _store(stamp_of(Path(path)))
    if not all(store.shape):  # nothing cannot be mapped
        return tuple(store.rows), np.zeros(store.shape, np.float32)
    return tuple(store.rows), np.memmap(path, "<f4", mode="r", offset=store.offset, shape=store.shape)


class Embeddings:
    """The format `embeddings`."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError`."""
        return tuple(_store(stamp_of(path)).rows)

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The embedding with the id `key`, or the only one; no other is read. Raises `InputError`."""
        import numpy as np

        store = _store(stamp_of(path))
        row = place_of(path, key, store.rows)
        width = store.shape[1]
        return Embedding(
            vector=np.fromfile(path, "<f4", count=width, offset=store.offset + 4 * width * row), model=store.model
        )

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A file of one row, whose id is the file's name."""
        self.collect([(stem(path), self.pack(payload))], path)

    def pack(self, payload: Payload) -> bytes:
        """The record of one case: the model's name in a line, and the numbers."""
        if not isinstance(payload, Embedding):
            raise UsageError(f"A file of embeddings holds embeddings, not a {describe(payload)}.")
        return json.dumps(payload.model).encode() + b"\n" + payload.vector.astype("<f4").tobytes()

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Write a row for each record, in their order; of a row only its id stays in memory.

        Raises `OutputError` where rows differ in length or model, or the ids are too many for a header.
        """
        ids: list[str] = []
        first: tuple[str, int] | None = None
        with tempfile.TemporaryFile(dir=path.parent) as rows:
            for id, record in records:
                maker, _, vector = record.partition(b"\n")
                this = (json.loads(maker), len(vector) // 4)
                first = first or this
                if this != first:
                    raise OutputError(
                        f"The embedding of '{id}' ({_said(*this)}) does not fit that of '{ids[0]}' ({_said(*first)}): "
                        "one file holds those of one model."
                    )
                ids.append(id)
                rows.write(vector)
            model, width = first or ("", 0)
            rows.seek(0)
            with path.open("wb") as stream:
                stream.write(_header(ids, width=width, model=model, name=path.name))
                shutil.copyfileobj(rows, stream, 1 << 20)


def _header(ids: Sequence[str], *, width: int, model: str, name: str) -> bytes:
    """What a safetensors file begins with: the length of the header, and the header, filled up to eight bytes."""
    tensor = {"dtype": "F32", "shape": [len(ids), width], "data_offsets": [0, 4 * width * len(ids)]}
    metadata = {"format": "np", "ids": json.dumps(ids)} | ({"model": model} if model else {})
    header = json.dumps({"__metadata__": metadata, TENSOR: tensor}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > MOST_HEADER:
        raise OutputError(
            f"The {len(ids):,} ids of {name} are more than a safetensors file can hold: divide the cases."
        )
    return len(header).to_bytes(8, "little") + header


class _Store(NamedTuple):
    rows: Mapping[str, int]
    """The number of each row by id."""
    shape: tuple[int, int]
    offset: int
    """The byte that the first row begins at."""
    model: str


@lru_cache(maxsize=8)
def _store(stamp: Stamp) -> _Store:
    from safetensors import SafetensorError, safe_open

    path = stamp.path
    try:
        with safe_open(path, framework="numpy") as file:  # checks that header and file fit each other
            metadata: Mapping[str, str] = file.metadata() or {}
            names = list(file.keys())
            if TENSOR not in names:
                raise InputError(f"{path} has no tensor '{TENSOR}'; it has {', '.join(names[:3]) or 'none'}.")
            tensor = file.get_slice(TENSOR)
            shape, dtype = tensor.get_shape(), tensor.get_dtype()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file, or is damaged: {error}.") from None
    if len(shape) != 2 or dtype != "F32":
        raise InputError(f"The tensor '{TENSOR}' of {path} is {shape} of {dtype}, not (cases, features) of F32.")
    ids = _ids(metadata.get("ids", ""), path=path)
    if len(ids) != shape[0]:
        raise InputError(f"{path} has {len(ids)} different ids, but {shape[0]} embeddings.")
    return _Store(ids, (shape[0], shape[1]), _offset(path), metadata.get("model", ""))


def _ids(text: str, *, path: Path) -> dict[str, int]:
    try:
        ids: Any = json.loads(text)
    except (ValueError, RecursionError):
        ids = None
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise InputError(f"{path} does not say in its metadata, as a JSON list 'ids', which case each row is of.")
    return {id: row for row, id in enumerate(ids)}


def _offset(path: Path) -> int:
    """Where the tensor's numbers begin in a file that safetensors has found to be whole."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return 8 + length + int(header[TENSOR]["data_offsets"][0])


def _said(model: str, width: int) -> str:
    return f"{width} numbers{' of ' if model else ''}{model}"
