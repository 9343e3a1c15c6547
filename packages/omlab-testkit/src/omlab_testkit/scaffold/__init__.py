"""`omlab new`: writes a package that passes the checks as it stands.

The files of a package are templates (`templates/common`, `templates/<kind>`), filled in by
`string.Template`; in paths `__module__` stands for the Python module.
"""

from __future__ import annotations

import re
import shutil
import string
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, get_args

from omlab.errors import OutputError, UsageError
from omlab_testkit.scaffold import workspace

NewKind = Literal["model", "dataset", "adapter", "evaluator"]
NEW_KINDS: tuple[NewKind, ...] = get_args(NewKind)
LONGEST_NAME = 30
"""Longer names would break lines of the templates."""

_WORDS: dict[NewKind, str] = {"model": "model", "dataset": "data set", "adapter": "adapter", "evaluator": "evaluator"}
_SUMMARIES: dict[NewKind, str] = {
    "model": "Segments bright structures in a volume.",
    "dataset": "Volumes and label maps in a folder of NIfTI files.",
    "adapter": "Renumbers predicted classes to those of the data.",
    "evaluator": "Voxel accuracy of label maps.",
}
_REQUIREMENTS: dict[NewKind, tuple[str, ...]] = {
    "model": ("omlab-core[torch]>=0.1,<1", "omlab-volume>=0.1,<1", "numpy>=1.26", "torch>=2.6"),
    "dataset": ("omlab-core>=0.1,<1", "omlab-volume>=0.1,<1", "numpy>=1.26"),
    "adapter": ("omlab-core>=0.1,<1", "omlab-volume>=0.1,<1", "numpy>=1.26"),
    "evaluator": ("omlab-core>=0.1,<1", "omlab-volume>=0.1,<1", "numpy>=1.26"),
}


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a new package is called: `omlab-tiny-net` holds `omlab_tiny_net`, its card is `tiny-net`."""

    distribution: str
    module: str
    card: str
    class_name: str


def names(name: str) -> Names:
    """The names of a package called `name`, with or without `omlab-` before it. Raises `UsageError`."""
    card = name.removeprefix("omlab-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", card) or len(card) > LONGEST_NAME:
        raise UsageError(
            f"'{name}' cannot be the name of a package: use at most {LONGEST_NAME} small letters, digits and single "
            "hyphens, beginning with a letter, such as tiny-net."
        )
    words = card.split("-")
    return Names(
        distribution=f"omlab-{card}",
        module="_".join(["omlab", *words]),
        card=card,
        class_name="".join(word.capitalize() for word in words),
    )


def create(kind: NewKind, name: str, *, destination: Path, contrib: bool) -> list[Path]:
    """Write a new package and give the paths of its files, and of the workspace's lists that name it.

    Args:
        kind: `model`, `dataset`, `adapter` or `evaluator`.
        name: The card's name; the package is called `omlab-NAME`.
        destination: The folder to put the package into; with `contrib` any folder of the omlab workspace.
        contrib: Put it into the workspace's `contrib/`, and list it there.

    Raises:
        UsageError: The kind or the name is impossible, the folder exists, or this is no workspace.
        OutputError: The package cannot be written. In every case nothing is left behind.
    """
    if kind not in NEW_KINDS:
        raise UsageError(f"There is no kind '{kind}' of package: say {', '.join(NEW_KINDS[:-1])} or {NEW_KINDS[-1]}.")
    called = names(name)
    root = workspace.find(destination) if contrib else None
    folder = (root / "contrib" if root else destination) / called.distribution
    if folder.exists():
        raise UsageError(f"{folder} exists already: choose another name, or remove it first.")
    lists = workspace.edited_lists(root, called.distribution, called.module) if root else {}
    try:
        written = _write_package(kind, called, folder=folder, alone=root is None)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    if root:
        try:
            workspace.replace_lists(lists)
            workspace.add_to_readme(root, kind=kind, summary=_SUMMARIES[kind], card=called.card, folder=folder)
        except OSError as error:
            shutil.rmtree(folder)
            raise OutputError(f"The workspace in {root} cannot be changed: {error.strerror or error}.") from error
    return [*written, *lists]


def _write_package(kind: NewKind, called: Names, *, folder: Path, alone: bool) -> list[Path]:
    """Write everything into a temporary folder beside `folder`, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "distribution": called.distribution,
        "module": called.module,
        "name": called.card,
        "Class": called.class_name,
        "kind": kind,
        "words": _WORDS[kind],
        "summary": _SUMMARIES[kind],
        "dependencies": "\n".join(f'    "{requirement}",' for requirement in _REQUIREMENTS[kind]),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{called.distribution}.") as temporary:
        draft = Path(temporary) / called.distribution
        for path, template in _templates(kind, alone=alone):
            target = draft / path.replace("__module__", called.module)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = _sorted_imports(string.Template(template).substitute(values))
            if target.exists():
                text = target.read_text(encoding="utf-8") + "\n" + text
            target.write_text(text, encoding="utf-8")
        draft.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sorted_imports(text: str) -> str:
    """`text` with each run of `from omlab...` lines in order: where the new module stands depends on its name."""
    runs = re.compile(r"(?:^from omlab\S* import .*\n)+", flags=re.MULTILINE)
    return runs.sub(lambda run: "".join(sorted(run.group().splitlines(keepends=True), key=str.split)), text)


def _templates(kind: NewKind, *, alone: bool) -> Iterator[tuple[str, str]]:
    """Path and text of each template; a part that comes again continues the file before it."""
    root = resources.files("omlab_testkit.scaffold") / "templates"
    for part in ("common", kind, *(["alone"] if alone else [])):
        yield from _walk(root / part, "")


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".tmpl"):
            yield prefix + entry.name.removesuffix(".tmpl"), entry.read_text(encoding="utf-8")
