"""Reading published checkpoints: safetensors and torch files, told apart by content; never unpickled freely.

The one place of the project (beside `module`) that calls `torch.load`, always with `weights_only=True`. Some objects
that trainers keep beside the weights are allowed by name: numpy numbers (nnU-Net v1: `plot_stuff`, `best_stuff`) and
argparse namespaces (SAM-Med3D: `args`). None of them is built: each becomes an `_Ignored`, because only tensors are
used.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.errors import MissingDependencyError, WeightsError, first_line
from omlab.weights.files import check_regular
from omlab.weights.state import matches

if TYPE_CHECKING:
    from torch import Tensor

_IGNORED_GLOBALS = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.dtype",
    "numpy.ndarray",
    "argparse.Namespace",
)
_OTHER_FILES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 (Keras) file"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for: run 'git lfs pull'"),
)
_HTML = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
_SHOWN = 5
_PUT_ON = ("module.", "_orig_mod.")  # before every key, by DataParallel and DistributedDataParallel, by torch.compile


class _Ignored:
    """Stands for an object that a checkpoint names: takes whatever the file says of it and keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_state_dict(
    path: Path, *, wrapper: str = "", prefix: str = "", dropped: Sequence[str] = (), converted: bool = False
) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, on the CPU and in the dtype in which they are stored.

    Damage is found by the checksums of a zip-based torch file; safetensors and the torch files of before 1.6
    carry none, so there only the sha256 that the cache keeps (`omlab.weights.fetch`) can tell.

    Args:
        path: A safetensors file or a torch file (zip or older), whatever its suffix.
        wrapper: Key under which the file keeps the state dict (dots for nesting); empty: the file is one.
        prefix: Taken off every key that begins with it; an error where none does.
        dropped: Keys, without the prefix (`*` is any text), that are left out.
        converted: Wrapper and prefix may be absent, as in a user's copy that holds the weights alone; they may
            also lie under another key, if that is the only state dict of the file, and have before every key what
            torch's wrappers put there (`module.`, `_orig_mod.`).

    Raises:
        WeightsError: The file cannot be read, is damaged, refused (code in a pickle), has no such tensors, or
            some of them have values that are not finite.
    """
    path = Path(path)
    form = sniff(path)
    content = _read_safetensors(path) if form == "safetensors" else _read_torch(path, zipped=form == "zip")
    if wrapper or converted:
        content = _unwrap(content, wrapper, path, converted=converted)
    tensors = _tensors(content, path)
    if converted:
        tensors = without_what_torch_puts_on(tensors)
    if prefix and not (converted and not any(key.startswith(prefix) for key in tensors)):
        tensors = _without_prefix(tensors, prefix, path)
    kept = {key: value for key, value in tensors.items() if not matches(key, dropped)}
    refuse_not_finite(kept, path)
    return kept


def read_tensor(path: Path) -> Tensor:
    """The tensor that a torch file holds by itself, on the CPU: features that others keep so.

    Raises:
        WeightsError: The file cannot be read, is damaged, refused, or holds something else.
    """
    import torch

    path = Path(path)
    form = sniff(path)
    content = _read_safetensors(path) if form == "safetensors" else _read_torch(path, zipped=form == "zip")
    if not isinstance(content, torch.Tensor):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a tensor by itself.")
    return content


def sniff(path: Path) -> str:
    """`safetensors`, `zip` or `legacy` (torch's files of before 1.6), by the first bytes.

    Raises:
        WeightsError: It is another file, or none; says what it is.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read: {error.strerror or error}.") from error
    if not head:
        raise WeightsError(f"The weights file {path} is empty: fetch or copy it again.")
    if head[:4] == b"PK\x03\x04":
        return "zip"
    if len(head) > 8 and head[8:9] == b"{":
        if int.from_bytes(head[:8], "little") > size - 8:
            raise WeightsError(
                f"{path} is truncated: {size} bytes cannot hold the header that it announces; fetch or copy it again."
            )
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "legacy"
    raise WeightsError(f"{path} is {_what_it_is(head)}; weights are safetensors or torch files.")


def _what_it_is(head: bytes) -> str:
    for magic, name in _OTHER_FILES:
        if head.startswith(magic):
            return name
    if _HTML.match(head):
        return "a web page: the download did not give the file but a page about it"
    return "not a checkpoint"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise needs_torch(error) from error
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is a damaged or truncated safetensors file ({shortened(error)}); fetch or copy it again."
        ) from error


def _read_torch(path: Path, *, zipped: bool) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise needs_torch(error) from error
    if zipped:
        check_zip(path)
    allowed: list[Any] = [(_Ignored, name) for name in _IGNORED_GLOBALS]
    try:
        with torch.serialization.safe_globals(allowed), ExitStack() as stack:
            misnamed = path.suffix.lower() == ".safetensors"  # which torch believes, unless it is handed the open file
            source = stack.enter_context(path.open("rb")) if misnamed else path
            return torch.load(source, map_location="cpu", weights_only=True, mmap=zipped and not misnamed)  # noqa: TID251 - the one place
    except Exception as error:  # the unpickler meets arbitrary bytes: any exception means that the file is bad
        said = str(error)
        refused = re.search(r"GLOBAL ([\w.]+)|Trying to (?:\w+ )*?([\w]+\.[\w.]+)", said)
        if refused and re.search("unsupported|blocked|not allowed", said, re.IGNORECASE):
            raise WeightsError(
                f"{path} is refused: it asks for the Python object '{refused[1] or refused[2]}', and building objects "
                "that a file names can run code; save the state dict alone, best as safetensors."
            ) from error
        detail = re.search(r"WeightsUnpickler error: (.+)", said)
        raise WeightsError(
            f"{path} is damaged, truncated or not a torch checkpoint ({detail[1] if detail else shortened(error)}); "
            "fetch or copy it again."
        ) from error


def check_zip(path: Path) -> None:
    """Compare every entry with its checksum, which torch itself does not do."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path} is a truncated or damaged zip file ({shortened(error)}); fetch or copy it again."
        ) from error
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read: {error.strerror or error}.") from error
    if bad is not None:
        raise WeightsError(f"{path} is damaged: its part '{bad}' has the wrong checksum; fetch or copy it again.")
    if any(name.endswith("/constants.pkl") for name in names):
        raise WeightsError(f"{path} is a TorchScript program, not a state dict; omlab does not run it.")
    if not any(name.endswith("/data.pkl") for name in names):
        raise WeightsError(f"{path} is a zip file but not a torch checkpoint; name the weights file itself.")


def _unwrap(content: Any, wrapper: str, path: Path, *, converted: bool) -> Any:
    """The value under `wrapper`; a key that itself has dots is found too."""
    if not isinstance(content, Mapping):
        return content
    if wrapper in content:
        return content[wrapper]
    at: Any = content
    for part in wrapper.split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    if at is not None:
        return at
    inside = [value for value in content.values() if _is_state_dict(value)]
    if converted and _is_state_dict(content):
        return content
    if converted and len(inside) == 1:
        return inside[0]
    if not wrapper:
        return content
    raise WeightsError(f"{path} has no '{wrapper}': {_describe_keys(content)}{_suggestion(content)}.")


def _is_state_dict(content: Any) -> bool:
    import torch

    return isinstance(content, Mapping) and bool(content) and all(map(torch.is_tensor, content.values()))


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__} where a state dict (names to tensors) is expected."
        )
    if not content:
        raise WeightsError(f"{path} holds an empty state dict.")
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            kind = type(value).__name__.lstrip("_")
            raise WeightsError(
                f"{path} is not a state dict: '{key}' is a {kind}, not a tensor; "
                f"{_describe_keys(content)}{_suggestion(content)}."
            )
        tensors[key] = value.detach()
    return tensors


def _describe_keys(content: Mapping[Any, Any]) -> str:
    names = ", ".join(str(key) for key in list(content)[:8])
    return f"its keys are {names}{', ...' if len(content) > 8 else ''}"


def _suggestion(content: Mapping[Any, Any]) -> str:
    """Names the entry that looks like a state dict."""
    for key, value in content.items():
        if _is_state_dict(value):
            return f"; '{key}' looks like the state dict (the card's 'wrapper')"
    return ""


def _without_prefix(tensors: dict[str, Tensor], prefix: str, path: Path) -> dict[str, Tensor]:
    if not any(key.startswith(prefix) for key in tensors):
        raise WeightsError(f"No key of {path} begins with '{prefix}': {_describe_keys(tensors)}.")
    stripped: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = key.removeprefix(prefix)
        if name in stripped:
            raise WeightsError(f"{path} has '{name}' twice once the prefix '{prefix}' is taken off.")
        stripped[name] = value
    return stripped


def without_what_torch_puts_on(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys without `module.` and `_orig_mod.` where all of them begin so."""
    while found := [prefix for prefix in _PUT_ON if all(key.startswith(prefix) for key in tensors)]:
        tensors = {key.removeprefix(found[0]): value for key, value in tensors.items()}
    return tensors


def refuse_not_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `WeightsError` that names the tensors with values that are NaN or infinite."""
    bad = [key for key, value in tensors.items() if not _is_finite(value)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise WeightsError(
            f"{path} is refused: {', '.join(bad[:_SHOWN])}{more} ({len(bad)} of {len(tensors)} tensors) hold NaN or "
            "infinite values, as a training that diverged leaves them; take an earlier checkpoint."
        )


def _is_finite(value: Tensor) -> bool:
    import torch

    if not (value.is_floating_point() or value.is_complex()) or value.is_meta or value.numel() == 0:
        return True
    if value.layout != torch.strided or value.is_quantized:
        return True  # nothing that `load_state_dict` could copy
    if value.is_complex():
        value = torch.view_as_real(value)
    if value.element_size() == 1:  # eight-bit floats know no comparison
        value = value.float()
    low, high = torch.aminmax(value)  # NaN goes through both; no copy as large as the tensor is made
    return bool(low.isfinite() and high.isfinite())


def shortened(error: BaseException) -> str:
    """The first line of what an exception says, shortened."""
    return first_line(error)[:160].rstrip(" .")


def needs_torch(error: ModuleNotFoundError) -> MissingDependencyError:
    """What to raise where a package that reads weights is not installed."""
    return MissingDependencyError(
        f"Reading weights needs the Python package '{error.name}': install omlab-core[torch]."
    )
