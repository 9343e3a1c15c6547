"""The challenge's submission: nine files in a ZIP, one a set and number of shots.

A row is an image of the validation list, in the list's order: its name and the score of each class with 8 decimals,
commas between them, without a heading. (A tool of upstream's branch master writes spaces, which the site refuses.)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from omlab.errors import InputError, OmlabWarning, UsageError
from omlab.files import replacing
from omlab_medfmc.results import Results, data_of
from omlab_medfmc.sets import CHALLENGE, SHOTS, set_of

SPLIT = "unlabelled"
Place = tuple[str, int]
"""A set's name and a number of shots."""
_NAMED = re.compile(r"^(?P<set>[A-Za-z]+)(-(?P<shots>\d+)(-shot)?)?$")


def submission(given: Sequence[str], *, root: Path | None) -> dict[str, str]:
    """The files of a submission: their names and what is in them.

    Warns where some of the nine are not there.

    Args:
        given: `chest-1=RUN`, `chest=RUN` where the run's model says its shots, or a folder of runs.
        root: Where the data lie; None: where the runs had them.

    Raises:
        UsageError: What is given makes no sense, or there are two runs for one file.
        InputError: A run cannot be used.
    """
    runs = runs_of(given, root=root)
    files = {f"{name}_{shots}-shot_submission.csv": _rows(runs[name, shots], root) for name, shots in sorted(runs)}
    missing = [f"{name}-{shots}" for name in CHALLENGE for shots in SHOTS if (name, shots) not in runs]
    if missing:
        warnings.warn(
            f"{len(missing)} of the 9 files are not there, which the challenge asks for: {', '.join(missing)}.",
            OmlabWarning,
            stacklevel=2,
        )
    return files


def runs_of(given: Sequence[str], *, root: Path | None = None) -> Mapping[Place, Results]:
    """The run for each set and number of shots. Raises `UsageError` as `submission` says."""
    found: dict[Place, Results] = {}
    for argument in given:
        named, sign, path = argument.partition("=")
        for place, results in _named(named, Path(path)) if sign else _inside(Path(argument), root):
            if place in found:
                raise UsageError(
                    f"{found[place].folder} and {results.folder} are both {place[0]} of {place[1]} shots: name one, "
                    f"{place[0]}-{place[1]}=RUN."
                )
            found[place] = results
    return found


def write_zip(files: Mapping[str, str], path: Path) -> None:
    """Write the files; the same ones give the same bytes. Raises `OutputError` where that cannot be."""
    with replacing(path) as partial, ZipFile(partial, "w") as archive:
        for name, text in files.items():
            archive.writestr(ZipInfo(name), text, compress_type=ZIP_DEFLATED)


def _named(name: str, folder: Path) -> Iterator[tuple[Place, Results]]:
    match = _NAMED.match(name)
    if match is None:
        raise UsageError(f"'{name}=' names no set and shots: write such as chest-1=RUN or colon-10=RUN.")
    results, one = Results(folder), set_of(match["set"])
    shots = int(match["shots"]) if match["shots"] else results.shots
    if results.one is not one:
        raise UsageError(f"{folder} is of {results.one.name}, not of {one.name}.")
    if shots is None:
        raise UsageError(f"Of how many shots the model of {folder} knows is not known: write {one.name}-1={folder}.")
    yield _checked(one.name, shots), results


def _inside(folder: Path, root: Path | None) -> Iterator[tuple[Place, Results]]:
    """The runs in a folder that are of the challenge's validation lists."""
    count = 0
    for log in sorted(folder.glob("**/run.json")):
        results = Results(log.parent)
        if results.is_of_medfmc and results.shots in SHOTS and results.one.name in CHALLENGE:
            data = data_of(results, root=root)
            if SPLIT in data.splits() and results.has(data.cases(SPLIT)[0].id):
                count += 1
                yield (results.one.name, results.shots), results
    if not count:
        raise InputError(
            f"{folder} holds no finished run of 'omlab predict' on the split {SPLIT} of {', '.join(CHALLENGE)} by a "
            "model that was adapted with the setting 'shots'."
        )


def _checked(name: str, shots: int) -> Place:
    if name not in CHALLENGE or shots not in SHOTS:
        raise UsageError(
            f"The challenge has {', '.join(CHALLENGE)} of {', '.join(map(str, SHOTS))} shots, not {name} of {shots}."
        )
    return name, shots


def _rows(results: Results, root: Path | None) -> str:
    data = data_of(results, root=root)
    if SPLIT not in data.splits():
        raise InputError(f"{data.root} has no validation list of {data.one.folders[1]} without labels.")
    names = [entry.name for entry in data.entries[SPLIT]]
    scores = results.scores([case.id for case in data.cases(SPLIT)], data.one)
    lines = [",".join([name, *(f"{score:.8f}" for score in row)]) for name, row in zip(names, scores, strict=True)]
    return "\n".join(lines) + "\n"
