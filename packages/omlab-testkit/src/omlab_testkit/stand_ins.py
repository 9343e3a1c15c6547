"""Small models without a card, in place of others: what a model needs, or what an adapter starts from.

A package whose model needs an encoder says in its `tests/examples.py`:

```python
def needs(card):
    embeds = {"embed": {"takes": {"image": "image"}, "gives": "embedding"}}
    return {"encoder": session(SmallEncoder(), does=embeds)}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from omlab.card_schema import ModelCard
from omlab.errors import UsageError
from omlab.session import Session


def session(model: Any, *, does: Mapping[str, Mapping[str, Any]], name: str = "stand-in") -> Session:
    """A session that holds `model` to the verbs of `does`, which are written as in a card."""
    card = ModelCard.model_validate(
        {
            "name": name,
            "summary": "Stands in for a model.",
            "entry": "omlab_testkit.stand_ins:session",
            "licence": "Apache-2.0",
            "citation": "None.",
            "intended_use": "Tests.",
            "limits": "Everything else.",
            "does": {verb: dict(facts) for verb, facts in does.items()},
        }
    )
    return Session(model, card=card, identity={"name": name}, name=name, is_untrained=True)


class StandInBase:
    """A loaded model as adapters that need a verb see it (`omlab.roles.Base`)."""

    device = "cpu"

    def __init__(self, model: Any, *, does: Mapping[str, Mapping[str, Any]]) -> None:
        self._session = session(model, does=does)

    def session(self) -> Session:
        """The model, the same each time."""
        return self._session

    def trainable(self, *, device: str | None = None) -> NoReturn:
        """It has no recipes. Raises `UsageError`."""
        raise UsageError("A stand-in has no recipe: it cannot be trained.")

    def build(self, *, config: Mapping[str, Any] | None, weights: Path | None) -> Any:
        """The model as it is: it has nothing to be configured."""
        return self._session.model

    def defaults(self, recipe: str | None, adapter: str) -> Mapping[str, Any]:
        """No advice."""
        return {}
