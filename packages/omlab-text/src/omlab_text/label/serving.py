"""The page on a port of this machine."""

from __future__ import annotations

import socket

import click

from omlab.errors import UsageError
from omlab_text.label.server import application
from omlab_text.label.store import Store


def run(store: Store, *, host: str, port: int) -> None:
    """Serve until interrupted. Raises `UsageError` where the port cannot be had."""
    import uvicorn

    config = uvicorn.Config(application(store), host=host, port=port, log_level="warning", access_log=False)
    try:
        bound = socket.create_server((host, port))
    except OSError as error:
        raise UsageError(f"Port {port} of {host} cannot be used: {error.strerror}. Name another --port.") from None
    with bound:
        click.echo(f"Serving http://{host}:{port} until Ctrl-C.")
        uvicorn.Server(config).run(sockets=[bound])
