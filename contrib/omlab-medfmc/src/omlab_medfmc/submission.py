"""The challenge's submission: nine files in a ZIP, one a set and number of shots.

A row is an image of the validation list, in the list's order: its name and the score of each class with 8 decimals,
commas between them, without a heading. (A tool of upstream's branch master writes spaces, which the site refuses.)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from omlab.errors import InputError, OmlabWarning, UsageError
from omlab.files import replacing
from omlab_medfmc.board import cells_of, is_board
from omlab_medfmc.results import Results, Said, data_of
from omlab_medfmc.sets import CHALLENGE, SHOTS, set_of

SPLIT = "unlabelled"
Place = tuple[str, int]
"""A set's name and a number of shots."""
_NAMED = re.compile(r"^(?P<set>[A-Za-z]+)(-(?P<shots>\d+)(-shot)?)?$")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is taken of boards.

    Attributes:
        entry: `MODEL/ADAPTER`, where a board has several.
        seed: Of the episode.
    """

    entry: str | None = None
    seed: int = 0


def submission(given: Sequence[str], *, root: Path | None, choice: Choice | None = None) -> dict[str, str]:
    """The files of a submission: their names and what is in them.

    Warns where some of the nine are not there, and where a board's cases are not those of the validation list.

    Args:
        given: `chest-1=RUN`, `chest=RUN` where the run's model says its shots, a folder of runs, or a board.
        root: Where the data lie; None: where the runs had them.
        choice: What is taken of boards.

    Raises:
        UsageError: What is given makes no sense, or there are two runs for one file.
        InputError: A run cannot be used.
    """
    runs = said_by(given, root=root, choice=choice)
    files = {f"{name}_{shots}-shot_submission.csv": _rows(*runs[name, shots], root) for name, shots in sorted(runs)}
    missing = [f"{name}-{shots}" for name in CHALLENGE for shots in SHOTS if (name, shots) not in runs]
    if missing:
        warnings.warn(
            f"{len(missing)} of the 9 files are not there, which the challenge asks for: {', '.join(missing)}.",
            OmlabWarning,
            stacklevel=2,
        )
    return files


def said_by(
    given: Sequence[str], *, root: Path | None = None, choice: Choice | None = None
) -> Mapping[Place, tuple[Said, str]]:
    """What is submitted for each set and number of shots, with the split that it is of. Raises as `submission`."""
    found: dict[Place, tuple[Said, str]] = {}
    for argument in given:
        named, sign, path = argument.partition("=")
        for place, said, split in _found(named if sign else None, Path(path or named), root, choice or Choice()):
            if place in found:
                raise UsageError(
                    f"{found[place][0].folder} and {said.folder} are both {place[0]} of {place[1]} shots: name one, "
                    f"{place[0]}-{place[1]}=RUN."
                )
            found[place] = said, split
    return found


def _found(name: str | None, path: Path, root: Path | None, choice: Choice) -> Iterator[tuple[Place, Said, str]]:
    if name is not None:
        yield from ((place, said, SPLIT) for place, said in _named(name, path))
    elif is_board(path):
        yield from _on_board(path, choice)
    else:
        yield from ((place, said, SPLIT) for place, said in _inside(path, root))


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


def _on_board(folder: Path, choice: Choice) -> Iterator[tuple[Place, Said, str]]:
    """The cells of a board that are chosen."""
    cells = cells_of(folder)
    entries = sorted({cell.entry for cell in cells})
    entry = choice.entry or (entries[0] if len(entries) == 1 else None)
    if entry not in entries:
        asked = f"no entry '{entry}'" if entry else f"{len(entries)} entries"
        raise UsageError(f"{folder} has {asked}: name one with --entry, such as {', '.join(entries[:5]) or '(none)'}.")
    if cells[0].split != SPLIT:
        warnings.warn(
            f"{folder} measured the split '{cells[0].split}', whose labels are known: its images are not those of the "
            f"challenge's validation list ('{SPLIT}').",
            OmlabWarning,
            stacklevel=4,
        )
    for cell in cells:
        if cell.entry == entry and cell.seed == choice.seed and cell.shots in SHOTS and cell.one.name in CHALLENGE:
            yield (cell.one.name, cell.shots), cell, cell.split


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


def _rows(said: Said, split: str, root: Path | None) -> str:
    data = data_of(said, root=root)
    if split not in data.splits():
        raise InputError(f"{data.root} has no list of {data.one.folders[1]} for the split '{split}'.")
    names = [entry.name for entry in data.entries[split]]
    scores = said.scores([case.id for case in data.cases(split)])
    lines = [",".join([name, *(f"{score:.8f}" for score in row)]) for name, row in zip(names, scores, strict=True)]
    return "\n".join(lines) + "\n"
