"""The card `endpoint`: whatever answers at an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.card_schema import ModelCard
from omlab.errors import UsageError
from omlab.session import Session
from omlab.weights import Weights
from omlab_text.chat_model import ChatModel
from omlab_text.endpoint import EndpointBackend, Server, key_from


def load_endpoint(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> ChatModel[Any]:
    """The entry of `endpoint`. Raises `UsageError` for an address or a name of a key that cannot be used."""
    if weights is None or weights.endpoint is None:
        raise UsageError(f"'{card.name}' answers at a server: name its address with -s url=http://host:port/v1.")
    server = Server(
        url=settings["url"] or weights.endpoint.url,
        model=settings["model"] or weights.endpoint.model_id or "",
        key=key_from(settings["key_env"], named_by="key_env"),
        timeout=settings["timeout"],
        retries=settings["retries"],
        back_off=settings["back_off"],
        per_minute=settings["per_minute"],
        concurrency=card.does["generate"].concurrency,
    )
    return ChatModel(EndpointBackend(server))
