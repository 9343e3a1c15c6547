"""The errors that a user may see: one sentence that says what was wrong, where, and what to do.

Every error that omlab or a plugin raises on purpose is an `OmlabError`. The command line prints its
sentence and no traceback; anything else that escapes is a bug and is reported as one.
"""

from __future__ import annotations


class OmlabError(Exception):
    """Base of all errors raised on purpose; `str(error)` is one complete sentence.

    `exit_status` is that of a command which it ends: 2, nothing was started; 1 for an error that stops a run
    under way.
    """

    exit_status = 2


class UsageError(OmlabError):
    """The request itself makes no sense: nothing was started (exit status 2)."""


class UnknownNameError(UsageError):
    """A model, data set, adapter, evaluator or format of that name is not installed."""


class DuplicateNameError(UsageError):
    """Two distributions offer a card of the same kind and name."""


class PluginError(OmlabError):
    """A plugin cannot be imported, is built for another hook API, or breaks a rule of the hooks."""


class CardError(PluginError):
    """A card is incomplete or wrong; the message names the card, the field and the file."""


class MissingDependencyError(OmlabError):
    """An optional package is needed and absent; the message says what to install."""


class InputError(OmlabError):
    """An input file cannot be used; the message names the file and what was expected."""


class GeometryError(InputError):
    """Positions in space are missing, contradictory or do not agree with another image's."""


class SettingsError(UsageError):
    """A setting (`--set name=value`) is unknown or has a value that it cannot have."""


class WeightsError(OmlabError):
    """A weights file is absent, damaged, refused, or does not fit the network; names the keys."""


class DownloadError(WeightsError):
    """A file could not be fetched; what was received is kept for resuming where that is safe."""


class OutputError(OmlabError):
    """A result cannot be written: no rights, no space, or the place is taken by something else."""


class TrainingError(OmlabError):
    """Training cannot start or go on: no usable samples, a loss that is not finite."""


class OmlabWarning(UserWarning):
    """Something that the user should know; kept in the run log with its case."""


class OmlabNote(OmlabWarning):
    """Something worth knowing where nothing is wrong, such as what a recipe learns from; kept as warnings are."""


class GeometryWarning(OmlabWarning):
    """The geometry of an input was repaired or resampled before use."""


class WeightsWarning(OmlabWarning):
    """Weights were loaded with a reservation, such as entries that were dropped as the card says."""


class DeviceError(OmlabError):
    """The device is lost or cannot go on: nothing more can be computed in this process; ends a run."""

    exit_status = 1


def one_line(error: BaseException) -> str:
    """All that an error says, on one line and without a full stop at its end; of one that says nothing, its type."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of what an error says, likewise: of one that goes on for a page."""
    return next(iter(str(error).strip().splitlines()), "").rstrip(" .") or type(error).__name__


def where(error: BaseException, *, below: int = 0) -> str:
    """The place in the code that an unexpected error comes from, as the end of a sentence.

    The first `below` frames are not looked at, nor are Python's own that import a module.
    """
    from pathlib import Path  # only a bug pays for these
    from traceback import extract_tb

    frames = [frame for frame in extract_tb(error.__traceback__)[below:] if "importlib" not in frame.filename]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
