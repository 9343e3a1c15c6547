"""What there is of the data: each list with its numbers beside the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omlab.digests import file_digest
from omlab.errors import InputError
from omlab_medfmc.layout import Layout, find_layout
from omlab_medfmc.lists import Entry, overlap, read_list
from omlab_medfmc.sets import SETS, MedfmcSet


def overview(root: Path, *, lists: Path | None = None) -> Iterator[str]:
    """A line for each set, and one for each of its lists.

    Raises:
        InputError: No set is there, or a list cannot be read.
    """
    told = False
    first: InputError | None = None
    for one in SETS.values():
        try:
            layout = find_layout(root, one, lists=lists)
        except InputError as error:
            first = first or error
            continue
        if not _is_here(layout, one):
            continue
        told = True
        images = sum(len(names) for names in layout.files.values())
        yield f"{one.folders[1]}: {images} images in {', '.join(map(str, layout.images))}"
        for name, path in sorted(layout.lists.items()):
            yield f"  {_line(name, path, one, layout)}"
    if not told:
        raise first or InputError(f"{root} holds no set of MedFMC.")


def _is_here(layout: Layout, one: MedfmcSet) -> bool:
    """Whether the images lie in a folder of that set: without one every set would take them for its own."""
    return any(folder.parent.name in one.folders for folder in layout.images)


def _line(name: str, path: Path, one: MedfmcSet, layout: Layout) -> str:
    entries = read_list(path, one)
    facts = [f"{len(entries)} lines"]
    distinct = len({entry.name for entry in entries})
    if distinct < len(entries):
        facts.append(f"{distinct} images")
    if name in one.counts:
        facts.append(f"published {one.counts[name]}")
    missing = sum(not layout.image(entry.name).exists() for entry in entries)
    if missing:
        facts.append(f"{missing} files missing")
    labelled = [entry for entry in entries if entry.labels is not None]
    if labelled:
        facts.append(f"by class {_by_class(labelled, one)}")
    train = layout.lists.get(name.replace("-shot_val_", "-shot_train_"))
    if "-shot_val_" in name and train is not None:
        others = read_list(train, one)
        facts.append(f"{len(overlap(others, entries))} of {len({e.name for e in others})} training images in it")
    return f"{name}: {', '.join(facts)}, sha256 {file_digest(path)[:12]}"


def _by_class(entries: list[Entry], one: MedfmcSet) -> list[int]:
    return [sum(place in entry.classes for entry in entries) for place in range(len(one.classes))]
