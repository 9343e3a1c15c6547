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
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from omlab.errors import OutputError, UsageError
from omlab.registry import registry
from omlab_testkit.scaffold import workspace
from omlab_testkit.scaffold.kinds import KINDS, TAKEN

LONGEST_NAME = 30
"""Longer names would break lines of the templates."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_HOOK = '''@hookimpl
def omlab_{kind}s() -> list[Card]:
    """The {kind} cards of this package."""
    return read_cards(__package__, "{kind}")
'''


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a new package is called: `omlab-tiny-net` holds `omlab_tiny_net`, its card is `tiny-net`."""

    distribution: str
    module: str
    card: str


def names(name: str) -> Names:
    """The names of a package called `name`, with or without `omlab-` before it. Raises `UsageError`."""
    card = name.removeprefix("omlab-")
    if not _NAME.fullmatch(card) or len(card) > LONGEST_NAME:
        like = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")[:LONGEST_NAME]
        raise UsageError(
            f"'{name}' cannot be the name of a package: use at most {LONGEST_NAME} small letters, digits and single "
            f"hyphens, beginning with a letter, such as {like if _NAME.fullmatch(like) else 'tiny-net'}."
        )
    return Names(distribution=f"omlab-{card}", module=f"omlab_{card.replace('-', '_')}", card=card)


def create(kind: str, name: str, *, destination: Path, contrib: bool) -> list[Path]:
    """Write a new package and give the paths of its files, and of the workspace's lists that name it.

    Args:
        kind: One of `KINDS`: `model`, `recipe`, `dataset`, `adapter`, `evaluator`, `format` or `payload`.
        name: The card's name; the package is called `omlab-NAME`.
        destination: The folder to put the package into; with `contrib` any folder of the omlab workspace.
        contrib: Put it into the workspace's `contrib/`, and list it there.

    Raises:
        UsageError: The kind or the name is impossible or taken, the folder exists, or this is no workspace.
        OutputError: The package cannot be written. In every case nothing is left behind.
    """
    if kind not in KINDS:
        *first, last = KINDS
        raise UsageError(f"There is no kind '{kind}' of package: say {', '.join(first)} or {last}.")
    called = names(name)
    _check_free(kind, called)
    root = workspace.find(destination) if contrib else None
    folder = (root / "contrib" if root else destination) / called.distribution
    if folder.exists():
        raise UsageError(f"{folder} exists already: choose another name, or remove it first.")
    lists: dict[Path, str] = {}
    if root:
        facts, brings = KINDS[kind], KINDS[kind].brings.format(name=called.card)
        lists = workspace.edited_lists(root, folder=folder, module=called.module, summary=facts.summary, brings=brings)
    try:
        written = _write_package(kind, called, folder=folder, alone=root is None)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    try:
        workspace.replace_lists(lists)
    except OSError as error:
        shutil.rmtree(folder)
        raise OutputError(f"The workspace in {root} cannot be changed: {error.strerror or error}.") from error
    return [*written, *lists]


def _check_free(kind: str, called: Names) -> None:
    """Raise `UsageError` where a package, a module or a card of that name is there already."""
    other = f"'{called.card}' cannot be the name of a package: "
    if called.card in TAKEN:
        raise UsageError(f"{other}{called.distribution} is a package of omlab itself; choose another name.")
    try:
        version = distribution(called.distribution).version
    except PackageNotFoundError:
        version = ""
    if version or find_spec(called.module) is not None:
        raise UsageError(f"{other}{called.distribution} {version or '(its module)'} is installed; choose another name.")
    for card_kind in KINDS[kind].cards:
        owners = {card.distribution for card in registry().cards(card_kind) if card.name == called.card}  # type: ignore[arg-type]
        if owners:
            raise UsageError(f"{other}{' and '.join(sorted(owners))} offers one of that name; choose another name.")


def _write_package(kind: str, called: Names, *, folder: Path, alone: bool) -> list[Path]:
    """Write everything into a temporary folder beside `folder`, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    facts = KINDS[kind]
    values = {
        "distribution": called.distribution,
        "module": called.module,
        "name": called.card,
        "plain": called.card.replace("-", ""),
        "kind": kind,
        "words": facts.words,
        "summary": facts.summary,
        "hooks": "\n\n".join(_HOOK.format(kind=card) for card in facts.cards).rstrip(),
        "dependencies": "\n".join(f'    "{requirement}",' for requirement in facts.requires),
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


def _templates(kind: str, *, alone: bool) -> Iterator[tuple[str, str]]:
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
