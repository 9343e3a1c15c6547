"""All packages in one environment: `python -m tools.together` finds clashes between what is installed here.

Checked: a file that two of our distributions install, an entry point or a card of the same name, a
plugin that does not load, a card that is not complete.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import distribution, entry_points

from omlab.card_schema import validate
from omlab.cards import KINDS
from omlab.errors import CardError
from omlab.registry import registry
from tools.workspace import packages


def file_clashes() -> Iterator[str]:
    """Files that two distributions of ours install."""
    owner: dict[str, str] = {}
    for package in packages():
        for path in distribution(package.name).files or ():
            other = owner.setdefault(str(path), package.name)
            if other != package.name:
                yield f"{path} is installed by {other} and by {package.name}."


def plugin_faults() -> Iterator[str]:
    """Plugins that do not work beside the others, and entry points of the same name."""
    names = [entry_point.name for entry_point in entry_points(group="omlab")]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"more than one entry point of the group omlab is called '{name}'."
    for kind in KINDS:
        registry().cards(kind)
    for plugin in registry().plugins:
        if plugin.status != "ok":
            yield f"plugin {plugin.name} ({plugin.distribution}) is {plugin.status}: {plugin.reason}."


def card_faults() -> Iterator[str]:
    """Cards that are incomplete, or called as another one is."""
    for kind in KINDS:
        for name, owners in registry().duplicates(kind).items():
            yield f"{kind} '{name}' is offered by {' and '.join(owners)}."
        for card in registry().cards(kind):
            try:
                validate(card)
            except CardError as error:
                yield str(error)


def main() -> int:
    """Print every clash; 1 where there is one."""
    faults = [*file_clashes(), *plugin_faults(), *card_faults()]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        counts = ", ".join(f"{len(registry().cards(kind))} {kind} cards" for kind in KINDS)
        print(f"{len(packages())} packages live together: {counts}.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
