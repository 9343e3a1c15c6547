"""Checks of a plugin as a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from omlab.registry import registry
from omlab_testkit.checks import check
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import Subject

HEAVY = frozenset(
    [
        "accelerate",
        "cv2",
        "highdicom",
        "huggingface_hub",
        "jax",
        "matplotlib",
        "monai",
        "nibabel",
        "numpy",
        "openslide",
        "pandas",
        "peft",
        "PIL",
        "pydicom",
        "safetensors",
        "scipy",
        "SimpleITK",
        "skimage",
        "sklearn",
        "tensorflow",
        "timm",
        "torch",
        "torchvision",
        "transformers",
        "triton",
    ]
)
"""Modules that take long to import; listing cards must do without them."""

_LISTING = """
import json, sys
before = set(sys.modules)
from omlab.plugins import installed
from omlab.registry import Registry
from omlab.cards import KINDS
registry = Registry(installed())
cards = [card.name for kind in KINDS for card in registry.cards(kind)]
new = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"cards": cards, "modules": new}))
"""


@check(of="plugin")
def plugin_answers_with_cards(subject: Subject, folder: Path) -> None:
    """The plugin can be imported, is built for this hook API and answers its hooks with cards."""
    offers = subject.kit.offers  # asks every hook
    for plugin in subject.kit.plugins:
        if plugin.status != "ok":
            raise PromiseError(
                f"The plugin '{plugin.name}' of '{subject.id}' is {plugin.status}: {plugin.reason.rstrip('.')}."
            )
    manager = subject.kit.plugins.manager
    if not offers and not any(manager.get_hookcallers(plugin) for _, plugin in manager.list_name_plugin()):
        raise PromiseError(f"The plugin of '{subject.id}' implements no hook: is @hookimpl above its functions?")


@check(of="plugin")
def names_are_unique(subject: Subject, folder: Path) -> None:
    """No two cards of a kind have the same name, neither in this distribution nor among all installed."""
    counts = Counter((offer.kind, offer.name) for offer in subject.kit.offers)
    for (kind, name), count in counts.items():
        if count > 1:
            raise PromiseError(f"'{subject.id}' offers {count} {kind} cards called '{name}'; rename all but one.")
        owners = registry().duplicates(kind).get(name, [])
        if owners:
            raise PromiseError(f"The {kind} '{name}' is offered by {' and '.join(owners)}; rename one of them.")


@check(of="plugin")
def listing_imports_nothing_heavy(subject: Subject, folder: Path) -> None:
    """Listing the cards in a fresh interpreter imports none of torch, numpy and the like."""
    environment = {key: value for key, value in os.environ.items() if key != "OMLAB_PLUGINS_OFF"}
    environment["OMLAB_PLUGINS"] = ",".join(entry_point.name for entry_point in subject.kit.entry_points)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", _LISTING], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PromiseError(f"Listing the cards of '{subject.id}' fails: {done.stderr.strip().splitlines()[-1:]}.")
    heavy = sorted(HEAVY & set(json.loads(done.stdout.splitlines()[-1])["modules"]))
    if heavy:
        raise PromiseError(
            f"Listing the cards of '{subject.id}' imports {', '.join(heavy)}: import them where they are used."
        )
