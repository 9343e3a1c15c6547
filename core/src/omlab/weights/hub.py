"""`hf://` files and repositories, through huggingface_hub: its rights, mirrors and resuming, our cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from logging import ERROR
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab import progress
from omlab.errors import DownloadError, MissingDependencyError, first_line
from omlab.weights.http import GoneError, RefusedError
from omlab.weights.sources import Source

if TYPE_CHECKING:
    from omlab.card_schema import WeightsFile


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the Hub says of one file: its name inside the repository, size, and sha256 where it has one."""

    name: str
    size: int | None
    sha256: str | None


def download(file: WeightsFile, source: Source, partial: Path) -> None:
    """Fetch `source` to `partial`. Raises `DownloadError`, or `MissingDependencyError` without huggingface_hub."""
    folder = partial.with_name(".hub")
    with _saying(file.name, file.url):
        _fetch(source, source.where, revision=source.revision, folder=folder).replace(partial)
    shutil.rmtree(folder, ignore_errors=True)


def contents(source: Source, *, url: str) -> tuple[str, list[Published]]:
    """The commit that a repository's revision stands for, and its files. Raises as `download`."""
    with _saying(source.repository, url):
        from huggingface_hub import HfApi

        found = HfApi(endpoint=_mirror()).model_info(source.repository, revision=source.revision, files_metadata=True)
        listed = [
            Published(name=entry.rfilename, size=entry.size, sha256=entry.lfs.sha256 if entry.lfs else None)
            for entry in found.siblings or []
        ]
    if not found.sha or not listed:
        raise DownloadError(f"The repository {url} has no files.")
    return found.sha, listed


def download_into(source: Source, name: str, *, commit: str, folder: Path, url: str) -> Path:
    """Fetch one file of a repository into `folder`, under its name there. Raises as `download`."""
    with _saying(name, url):
        return _fetch(source, name, revision=commit, folder=folder)


def size_of(source: Source, *, url: str) -> int | None:
    """The size of a file that is there, in bytes, where the Hub says it; nothing is fetched. Raises as `download`."""
    with _saying(source.where, url):
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        link = hf_hub_url(source.repository, source.where, revision=source.revision, endpoint=_mirror())
        return get_hf_file_metadata(link).size


def _fetch(source: Source, name: str, *, revision: str | None, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    bar: dict[str, Any] = {"tqdm_class": _bar(name.rpartition("/")[2])}
    if "tqdm_class" not in signature(hf_hub_download).parameters:  # before 1.0, which transformers 4 needs: its own bar
        bar = {}
    got = hf_hub_download(source.repository, name, revision=revision, local_dir=folder, endpoint=_mirror(), **bar)
    return Path(got)


def _mirror() -> str | None:
    """What the user has in place of the Hub; huggingface_hub itself reads it only when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _saying(name: str, url: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one sentence."""
    try:
        from huggingface_hub import errors
        from huggingface_hub.utils import logging
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Fetching {url} needs the Python package '{error.name}': install omlab-core[hub]."
        ) from error
    level = logging.get_verbosity()
    logging.set_verbosity(ERROR)  # each of its retries would be a line, before the sentence that sums them up
    try:
        yield
    except errors.GatedRepoError as error:
        repository = "/".join(url.removeprefix("hf://").partition("@")[0].split("/")[:2])
        raise RefusedError(
            f"{name} is given out only to those who accepted its terms: accept them at "
            f"https://huggingface.co/{repository}, and log in with 'hf auth login'."
        ) from error
    except Exception as error:  # huggingface_hub passes on whatever its HTTP library raises
        gone = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError)
        if isinstance(error, gone) and not isinstance(error, errors.LocalEntryNotFoundError):  # the latter: no network
            raise GoneError(
                f"There is no public file {url}: the repository, revision or path is wrong, or it needs a log-in."
            ) from error
        raise DownloadError(f"{name} cannot be fetched from {url}: {first_line(error)}.") from error
    finally:
        logging.set_verbosity(level)


def _bar(name: str) -> type[Any]:
    """A tqdm class that hands its steps to `omlab.progress` and draws nothing itself."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self._open = ExitStack()
            self._advance = self._open.enter_context(progress.bar(f"fetching {name}", total=kwargs.get("total")))
            super().__init__(*args, **{**kwargs, "disable": True})
            self._advance(int(kwargs.get("initial") or 0))

        def update(self, n: float | None = 1) -> bool | None:
            self._advance(int(n or 0))
            return None

        def close(self) -> None:
            self._open.close()

    return Bar
