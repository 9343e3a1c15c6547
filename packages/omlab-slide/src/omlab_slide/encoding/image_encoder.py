"""An encoder of images as a slide's patches are given to it: a model of ours, or a session of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.card_schema import ModelCard
from omlab.errors import InputError, MissingDependencyError, OmlabError, PluginError, UsageError
from omlab.roles import Prepares
from omlab.session import Session
from omlab.settings import decisive
from omlab.versions import package_versions
from omlab.weights import UNTRAINED, Weights

VERB = "embed"


class ImageEncoder:
    """What makes one vector of each patch.

    Args:
        model: A model with the verb `embed` for the input `image`, or a session of one.
        card: Its card; of a session its own.
        weights: Its weights; of a session its own.
        settings: Those of the card that the features depend on.
        batch: Patches at once; None: as many as the session's card says, else 32.

    Raises `UsageError` where a session does not embed images.
    """

    def __init__(
        self,
        model: Any,
        *,
        card: ModelCard | None = None,
        weights: Weights | None = None,
        settings: Mapping[str, Any] | None = None,
        batch: int | None = None,
    ) -> None:
        self.model = model
        self.input = "image"
        self.batch = batch or 32
        if isinstance(model, Session):
            self.input = _image_input(model)
            self.batch = batch or model.verb(VERB).at_once
            self.facts = _of_identity(model.name, model.identity)
        else:
            self.facts = _of_card(card, weights, settings or {})

    def ready(self, pixels: NDArray[np.uint8], *, mpp: float, options: Mapping[str, Any]) -> Any:
        """What `encode` takes of a patch (h, w, 3): decoded, resampled, normalised; for the threads that read."""
        inputs = {self.input: _image(pixels, mpp=mpp)}
        if isinstance(self.model, Session):
            return self.model.prepare(VERB, inputs, **options)
        return self.model.prepare(VERB, inputs, **options) if isinstance(self.model, Prepares) else inputs

    def encode(self, patches: Sequence[Any], options: Mapping[str, Any]) -> NDArray[np.float32]:
        """The vectors (n, D) of patches that are `ready`.

        Raises what the encoder gave or raised for one of them, `PluginError` where it gave no vectors of one length.
        """
        if isinstance(self.model, Session):
            answers = self.model.apply(VERB, patches, **options)
        else:
            answers = list(self.model.embed(patches, **options))
        vectors = [_vector(answer) for answer in answers]
        if len(vectors) != len(patches) or len({vector.shape for vector in vectors}) != 1:
            raise PluginError(
                f"The encoder gave {len(vectors)} vectors of the shapes {sorted({v.shape for v in vectors})} for "
                f"{len(patches)} patches: one of the same length is needed for each."
            )
        return np.stack(vectors)


def _image(pixels: NDArray[np.uint8], *, mpp: float) -> Any:
    try:
        from omlab_image import Image
    except ModuleNotFoundError as error:
        raise MissingDependencyError("Encoders of patches need omlab-image: install omlab-slide[encode].") from error
    return Image(array=pixels, spacing=(mpp / 1000, mpp / 1000))


def _image_input(session: Session) -> str:
    facts = session.verb(VERB)
    found = [name for name in facts.required if facts.kinds[name] == "image"]
    if len(found) != 1 or len(facts.required) != 1 or facts.gives != "embedding":
        takes = ", ".join(f"{name} ({kind})" for name, kind in facts.takes.items())
        raise UsageError(
            f"'{session.name}' cannot encode patches: its '{VERB}' takes {takes} and gives {facts.gives}, but an image "
            "is to become an embedding."
        )
    return found[0]


def _vector(answer: Any) -> NDArray[np.float32]:
    if isinstance(answer, OmlabError):
        raise answer
    vector = getattr(answer, "vector", None)
    if vector is None:
        raise PluginError(f"The encoder gave a {type(answer).__name__} for a patch, not an embedding.")
    if not np.isfinite(vector).all():
        raise InputError("The encoder gave features that are NaN or infinite.")
    return np.asarray(vector, np.float32)


def _of_identity(name: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a bag says of the encoder, from a session's identity."""
    kept = ("card", "packages", "weights", "settings", "needs", "adapted", "base")
    return {"name": name, **{key: identity[key] for key in kept if identity.get(key)}}


def _of_card(card: ModelCard | None, weights: Weights | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Likewise, from what a model's entry is handed."""
    if card is None:
        return {}
    tag = weights.tag if weights is not None else UNTRAINED
    return {
        "name": f"{card.name}.{tag}",
        "packages": package_versions(card.entry.partition(":")[0].partition(".")[0].replace("_", "-")),
        "weights": {"tag": tag, "sha256": dict(weights.sha256) if weights is not None else None},
        "settings": decisive(card.settings, settings),
    }
