"""The page on a port of this machine."""

from __future__ import annotations

import socket

from omlab.errors import UsageError
from omlab_text.label.server import application
from omlab_text.label.store import Store


def listening(*, host: str, port: int) -> socket.socket:
    """The port, taken before anything is begun. Raises `UsageError` where it cannot be had."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UsageError(f"Port {port} of {host} cannot be used: {error.strerror}. Name another --port.") from None


def run(store: Store, listener: socket.socket) -> None:
    """Serve until interrupted."""
    import uvicorn

    config = uvicorn.Config(application(store), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
