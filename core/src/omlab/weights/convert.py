"""A published checkpoint as safetensors: the weights alone, by the names that the network has for them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from omlab.adapted import ADAPTED
from omlab.card_schema import ModelCard
from omlab.digests import file_digest
from omlab.errors import OmlabWarning, OutputError, UsageError, WeightsError
from omlab.files import replacing, writing
from omlab.identities import UNTRAINED
from omlab.models import find_card, load_model
from omlab.weights.resolve import offered, resolve
from omlab.weights.state import save_state_dict

SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A file that was written: its bytes and sha256, and how many tensors are in it."""

    path: Path
    size: int
    sha256: str
    tensors: int


def convert(
    name: str, output: str | Path, *, weights: str | Path | None = None, offline: bool | None = None
) -> Converted:
    """Write the weights of a published checkpoint as safetensors, which the model takes as `--weights`.

    The card's rules for the file (wrapper, prefix, dropped entries) are applied once. The model is then built with
    the new file, which gets its name only when every key has fitted.

    Args:
        name: A model, or MODEL.TAG. Where `weights` is given it says by whose rules that is read, as in `resolve`.
        output: The new file, `.safetensors`.
        weights: A local checkpoint; by default the published one, fetched if need be.
        offline: True: never fetch.

    Raises:
        UsageError: There are no weights of one file by that name, or `output` is no safetensors file.
        WeightsError: The file cannot be read, or does not fit the network.
        OutputError: Something is in the place, or it cannot be written to.
    """
    output = Path(output)
    if output.suffix != SUFFIX:
        raise UsageError(f"The weights are written as safetensors: name a file that ends in {SUFFIX}, not {output}.")
    if output.exists():
        raise OutputError(f"{output} exists already; remove it or choose another name.")
    if (Path(name) / ADAPTED).is_file():
        raise UsageError(f"{name} is an adapted model, whose weights are safetensors already.")
    card, tag = find_card(name), name.partition(".")[2]
    given = Path(weights) if weights is not None else None
    _check_one_file(card, tag or (card.default_weights if given is None else ""))
    source = resolve(card, tag or None, weights=given, offline=offline)
    assert source is not None  # untrained networks are refused before
    path, state = source.path(), source.state_dict()
    with writing("The weights", output), replacing(output) as temporary:
        try:
            save_state_dict(state, temporary)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OmlabWarning)
                load_model(name, weights=temporary, device="cpu")
        except OutputError as error:
            raise OutputError(str(error).replace(str(temporary), str(output))) from error
        except WeightsError as error:
            said = str(error).replace(str(temporary), str(path))
            raise WeightsError(f"{path} cannot be converted: {said}") from error
        size, sha256 = temporary.stat().st_size, file_digest(temporary)
        if output.exists():
            raise OutputError(f"{output} has come to exist in the meantime; choose another name.")
    return Converted(path=output, size=size, sha256=sha256, tensors=len(state))


def _check_one_file(card: ModelCard, tag: str) -> None:
    """Raise `UsageError` where nothing is published by that tag ("": any), or not one file."""
    if not card.weights or tag == UNTRAINED:
        known = ", ".join(f"{card.name}.{other}" for other in card.weights) or "it has none"
        raise UsageError(f"Name the published weights of '{card.name}' that are to be converted: {known}.")
    if tag and len(offered(card, tag).files) != 1:
        count = len(offered(card, tag).files)
        raise UsageError(f"'{card.name}.{tag}' has {count} files; only weights of one file are converted.")
