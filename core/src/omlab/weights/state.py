"""State dicts and networks: loading with named exceptions only, and saving as safetensors."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.errors import OutputError, WeightsError
from omlab.files import replacing, writing

if TYPE_CHECKING:
    import torch

_SHOWN = 5


def load_state_dict(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    missing: Sequence[str] = (),
    dropped: Sequence[str] = (),
    source: Path | str,
) -> None:
    """Copy `state` into `module`; nothing is copied unless all of it fits.

    Args:
        module: The network; its dtypes and device stay.
        state: Tensors by name, as `read_state_dict` gives them.
        missing: Keys (`*` is any text) that the network has and the file may lack: they keep their values.
        dropped: Keys that the file has and that are never loaded.
        source: Where `state` comes from, for messages.

    Raises:
        WeightsError: Any other key is missing, unexpected or of another shape; names up to five of each.
    """
    wanted = module.state_dict()
    kept = {key: value for key, value in state.items() if not matches(key, dropped)}
    lacking = [key for key in wanted if key not in kept and not matches(key, missing)]
    unexpected = [key for key in kept if key not in wanted]
    differing = [key for key in kept if key in wanted and kept[key].shape != wanted[key].shape]
    problems = [
        *_problem("missing", [f"{key} {_shape(wanted[key])}" for key in lacking]),
        *_problem("unexpected", [f"{key} {_shape(kept[key])}" for key in unexpected]),
        *_problem(
            "of another shape",
            [f"{key} {_shape(kept[key])} where the network has {_shape(wanted[key])}" for key in differing],
        ),
    ]
    if problems:
        raise WeightsError(
            f"{source} does not fit {type(module).__name__} ({len(wanted)} entries in the network, "
            f"{len(state)} in the file): {'; '.join(problems)}."
        )
    module.load_state_dict(kept, strict=False)


def check_entries(
    state: Mapping[str, torch.Tensor], needed: Mapping[str, int], *, what: str, source: Path | str
) -> None:
    """Hold a state against the entries that its network is read off, before it is.

    Args:
        state: Tensors by name.
        needed: How many axes each of these entries has.
        what: What the state should be of, with its article: "a STU-Net checkpoint".
        source: Where `state` comes from, for messages.

    Raises:
        WeightsError: An entry is absent, or has another number of axes; names the first one.
    """
    lacking = next((key for key in needed if key not in state), None)
    if lacking is not None:
        raise WeightsError(
            f"{source} is not {what}, or not a whole one: it has no '{lacking}' "
            f"(its keys begin with {', '.join(list(state)[:3]) or 'nothing'})."
        )
    wrong = next((key for key, axes in needed.items() if state[key].ndim != axes), None)
    if wrong is not None:
        raise WeightsError(f"{source} is not {what}: '{wrong}' has the shape {tuple(state[wrong].shape)}.")


def depth_of(state: Mapping[str, torch.Tensor], block: str) -> int:
    """How many blocks a state has.

    They are counted: a damaged file that names a block far behind the others must not have a network built that fits
    no memory. With so many blocks, that one is unexpected.

    Args:
        state: Tensors by name.
        block: A regular expression for the beginnings of names, whose group is the number of a block.
    """
    return len({found[1] for found in map(re.compile(block).match, state) if found})


def save_state_dict(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write `tensors` to `path` as safetensors, whole or not at all; a file in its place is replaced.

    Tensors are stored on their own even where they share memory, in their dtype, with `requires_grad` forgotten.

    Raises:
        OutputError: No rights, no space, or `path` is a folder.
        WeightsError: A tensor has no dense values (sparse, quantised, meta).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    ready = _storable(tensors, path)
    if path.is_dir():
        raise OutputError(f"The weights cannot be written to {path}: a folder of that name is in the place.")
    with writing("The weights", path), replacing(path) as temporary:
        size = sum(value.nbytes for value in ready.values())
        if shutil.disk_usage(temporary.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            save_file(ready, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error


def _storable(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    import torch

    ready: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for key, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise WeightsError(f"'{key}' cannot be stored in {path}: it is not a dense tensor with values.")
        dense = value.detach().cpu().contiguous()
        storage = dense.untyped_storage()
        # safetensors refuses tensors that share memory: each gets its own, but only where it is needed
        if storage.data_ptr() in seen or storage.nbytes() != dense.nbytes:
            dense = dense.clone()
        seen.add(dense.untyped_storage().data_ptr())
        ready[key] = dense
    return ready


def matches(key: str, patterns: Iterable[str]) -> bool:
    """Whether a key is one of the card's `missing` or `dropped`, where `*` is any text."""
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key) for pattern in patterns)


def _shape(tensor: torch.Tensor) -> str:
    return f"({', '.join(str(n) for n in tensor.shape)})"


def _problem(word: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    more = f", and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return [f"{len(entries)} {word}: {', '.join(entries[:_SHOWN])}{more}"]
