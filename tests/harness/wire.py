"""Requests written byte by byte, for what no well-behaved client sends."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.harness.server import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` is 0 where the connection ended without an answer."""

    status: int
    head: str
    body: bytes


class Wire:
    """One connection, on which a request is being written."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """One chunk of a chunked body; an empty one is its end."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self) -> None:
        """No more will come from us; we still listen."""
        self._connection.shutdown(socket.SHUT_WR)

    def answer(self) -> Answer:
        """Reads to the end of the connection. Ask for `Connection: close`."""
        received = b""
        try:
            while chunk := self._connection.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
        head, _, body = received.partition(b"\r\n\r\n")
        line = head.split(b" ", 2)
        status = int(line[1]) if len(line) > 1 else 0
        return Answer(status=status, head=head.decode("latin-1"), body=body)


@contextmanager
def wire(
    client: Client, method: str, path: str, headers: Mapping[str, str | bytes | int]
) -> Iterator[Wire]:
    """A connection on which the request's head was sent, with the client's key."""
    host, _, port = client.base.removeprefix("http://").partition(":")
    lines = [f"{method} {path} HTTP/1.1".encode(), f"Host: {host}:{port}".encode()]
    given: dict[str, str | bytes | int] = {
        "Authorization": str(client.headers["Authorization"]),
        "Connection": "close",
        **headers,
    }
    for name, value in given.items():
        raw = value if isinstance(value, bytes) else str(value).encode("latin-1")
        lines.append(name.encode() + b": " + raw)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        yield Wire(connection)
