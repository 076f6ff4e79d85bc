"""Sockets to listen on, with an error that says which setting to change."""

from __future__ import annotations

import socket

import click


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; `port` 0: any free one. `setting` is what a person sets the port by."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port}: {error.strerror}; set {setting}, or stop what holds it"
        ) from error
    listening.listen(2048)
    return listening
