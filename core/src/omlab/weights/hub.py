"""`hf://` files, through huggingface_hub: its rights, mirrors and resuming, our cache."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omlab import progress
from omlab.card_schema import WeightsFile
from omlab.errors import DownloadError, MissingDependencyError
from omlab.weights.sources import Source


def download(file: WeightsFile, source: Source, partial: Path) -> None:
    """Fetch `source` to `partial`. Raises `DownloadError`, or `MissingDependencyError` without huggingface_hub."""
    try:
        from huggingface_hub import errors, hf_hub_download
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Fetching {file.url} needs the Python package '{error.name}': install omlab-core[hub]."
        ) from error
    folder = partial.with_name(".hub")
    try:
        got = hf_hub_download(
            source.repository,
            source.where,
            revision=source.revision,
            local_dir=folder,
            tqdm_class=_bar(file.name),
        )
        Path(got).replace(partial)
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{file.name} is given out only to those who accepted its terms: accept them at "
            f"https://huggingface.co/{source.repository}, and log in with 'hf auth login'."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise DownloadError(
            f"There is no public file {file.url}: the repository, revision or path is wrong, or it needs a log-in."
        ) from error
    except Exception as error:  # huggingface_hub passes on whatever its HTTP library raises
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DownloadError(f"{file.name} cannot be fetched from {file.url}: {detail.rstrip('.')}.") from error
    shutil.rmtree(folder, ignore_errors=True)


def _bar(name: str) -> type[Any]:
    """A tqdm class that hands its steps to `omlab.progress` and draws nothing itself."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self._open = ExitStack()
            self._advance = self._open.enter_context(progress.task(f"fetching {name}", total=kwargs.get("total")))
            super().__init__(*args, **{**kwargs, "disable": True})
            self._advance(int(kwargs.get("initial") or 0))

        def update(self, n: float | None = 1) -> bool | None:
            self._advance(int(n or 0))
            return None

        def close(self) -> None:
            self._open.close()

    return Bar
