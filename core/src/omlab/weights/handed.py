"""What a model is handed to load: its files on this machine, and the card's rules for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.digests import file_digest
from omlab.errors import UsageError, WeightsError
from omlab.weights.checkpoint import read_state_dict, sniff
from omlab.weights.state import load_state_dict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from omlab.card_schema import WeightsFile

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one file becomes a state dict; the first four are the card's (`omlab.card_schema.WeightsFile`).

    `converted`: as of `read_state_dict`, for a user's copy that may hold the weights alone.
    """

    wrapper: str = ""
    prefix: str = ""
    missing: Sequence[str] = ()
    dropped: Sequence[str] = ()
    converted: bool = False

    @classmethod
    def of(cls, file: WeightsFile, *, converted: bool = False) -> Rules:
        """The rules that a card gives for one of its files."""
        return cls(
            wrapper=file.wrapper,
            prefix=file.prefix,
            missing=tuple(file.missing),
            dropped=tuple(file.dropped),
            converted=converted,
        )


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where weights answer that are not on this machine. The key itself is never kept, shown or logged."""

    url: str
    model_id: str | None = None
    key_env: str | None = None

    def key(self) -> str | None:
        """The key, from the environment variable that the card names; None where the endpoint asks for none.

        Raises:
            UsageError: The variable is not set.
        """
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise UsageError(f"{self.url} asks for a key: set the environment variable {self.key_env}.")
        return key


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one tag. What `omlab.weights.resolve` gives and a model's entry is handed.

    ```python
    def load(card, *, weights, needs, device, settings, config):
        module = build_network(settings)
        if weights is not None:
            weights.load(module)
        return Net(module.to(device))
    ```

    Args:
        tag: As in the card; `local` for a file or folder of the user's.
        files: Paths by the card's names; of a snapshot or a user's folder by their names inside it (`sub/a.json`).
        folder: The snapshot, or the user's folder; None where each file stands on its own.
        endpoint: Where the weights answer, in place of files.
        rules: The card's rules, by name of file; none for a snapshot's.
        digests: The sha256 that are known already, by name of file.
    """

    tag: str
    files: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    endpoint: Endpoint | None = None
    rules: Mapping[str, Rules] = field(default_factory=dict, repr=False)
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def plain(cls, path: Path, *, tag: str) -> Weights:
        """One file that holds a state dict and nothing else, such as an adapted model's."""
        return cls(tag=tag, files={path.name: path})

    @cached_property
    def sha256(self) -> dict[str, str]:
        """The sha256 of every file by name; what the cache does not know is hashed at the first call."""
        return {name: self.digests.get(name) or file_digest(path) for name, path in self.files.items()}

    def path(self, name: str | None = None) -> Path:
        """Where a file lies; `name` may be left out where there is one, or one of them alone is a checkpoint.

        Raises:
            WeightsError: There is no such file, or more than one that may be meant.
        """
        return self._file(name)[1]

    def state_dict(self, name: str | None = None) -> dict[str, Tensor]:
        """The tensors of a file after the card's rules: from under the wrapper, without the prefix and what is dropped.

        On the CPU, in the dtype in which they are stored.

        Args:
            name: As in the card; may be left out as in `path`.

        Raises:
            WeightsError: The file cannot be read, is damaged or refused, or does not follow the card's rules.
        """
        name, path = self._file(name)
        rules = self._rules(name)
        return read_state_dict(
            path, wrapper=rules.wrapper, prefix=rules.prefix, dropped=rules.dropped, converted=rules.converted
        )

    def load(
        self, module: torch.nn.Module, name: str | None = None, *, state: Mapping[str, Tensor] | None = None
    ) -> None:
        """Copy a file's tensors into `module`, whose dtypes and device stay; nothing is copied unless all fits.

        Args:
            module: The network.
            name: As in the card; may be left out as in `path`.
            state: What `state_dict` gave, where the network was sized by it: the file is not read again.

        Raises:
            WeightsError: As `state_dict`; or a key that the card does not except is missing, unexpected or of
                another shape: it is named.
        """
        name, path = self._file(name)
        state = self.state_dict(name) if state is None else state
        load_state_dict(module, state, missing=self._rules(name).missing, source=path)

    def _rules(self, name: str) -> Rules:
        return self.rules.get(name, Rules())

    def _file(self, name: str | None) -> tuple[str, Path]:
        if self.endpoint is not None:
            raise WeightsError(f"The weights '{self.tag}' answer at {self.endpoint.url}: they have no files to load.")
        if name is not None and name not in self.files:
            raise WeightsError(f"The weights '{self.tag}' have no file '{name}': they have {_listed(self.files)}.")
        if name is None:
            known = list(self.files) if len(self.files) == 1 else self._checkpoints()
            where = f" in {self.folder}" if self.folder else ""
            if not known:
                raise WeightsError(
                    f"No file of the weights '{self.tag}'{where} is a checkpoint: {_listed(self.files)}."
                )
            if len(known) > 1:
                raise WeightsError(f"The weights '{self.tag}'{where} are several files: name one of {_listed(known)}.")
            name = known[0]
        return name, self.files[name]

    def _checkpoints(self) -> list[str]:
        """The files that are checkpoints by their first bytes."""
        found = []
        for name, path in self.files.items():
            try:
                sniff(path)
            except WeightsError:
                continue
            found.append(name)
        return found


def _listed(names: Mapping[str, Path] | Sequence[str]) -> str:
    known = list(names)
    return ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
