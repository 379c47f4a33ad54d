"""What driver and worker say to each other: JSON objects, one per message, over a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any


def send(connection: Connection[Any, Any], message: Mapping[str, Any]) -> None:
    """Sends one message.

    Raises:
        OSError: The other side is gone.
        TypeError: The message is no JSON value.
    """
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection[Any, Any]) -> dict[str, Any]:
    """Waits for one message.

    Raises:
        EOFError: The other side is gone.
        OSError: Likewise, in the middle of a message.
    """
    message: dict[str, Any] = json.loads(connection.recv_bytes())
    return message
