"""A load generator that costs next to nothing: raw sockets, requests laid out before, one epoll.

It shares the two cores with what it measures: at 1,000 requests a second it takes some 5 % of
one. `drive` is a closed loop: each client sends its next request when it has the whole answer to
the last. `offer` is an open one: requests come at their time, whatever became of those before.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Requests = Callable[[], bytes]
"""Gives the next request, head and body, to be sent as it is."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_RECEIVE = 1 << 16


@dataclass(slots=True, kw_only=True)
class Load:
    """What came of it. Latencies in seconds, ascending."""

    elapsed_s: float
    latencies: list[float] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    """First lines of the answers that were not the expected ones."""

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.elapsed_s

    def percentile_ms(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] * 1e3


def post(path: str, key: str, body_size: int, **headers: str) -> bytes:
    """The head of a POST on a connection that is kept open."""
    lines = [
        f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}",
        f"Content-Length: {body_size}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def random_documents(head: bytes, size: int) -> Iterator[bytes]:
    while True:
        yield head + os.urandom(size)


class _Client:
    __slots__ = ("answer", "sent_at", "socket", "wanted")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer, self.wanted, self.sent_at = b"", -1, 0.0

    def send(self, request: bytes) -> None:
        self.answer, self.wanted = b"", -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Whether the whole answer is there now."""
        chunk = self.socket.recv(_RECEIVE)
        if not chunk:
            raise ConnectionError(f"the service closed the connection after {self.answer[:80]!r}")
        self.answer += chunk
        if self.wanted < 0:
            end = self.answer.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self.answer, 0, end + 2)
            if length is None:
                raise ConnectionError(f"no Content-Length in {self.answer[:200]!r}")
            self.wanted = end + 4 + int(length[1])
        return len(self.answer) >= self.wanted


def drive(
    port: int | tuple[int, ...],
    requests: Iterator[bytes],
    *,
    clients: int,
    seconds: float,
    status: int,
) -> Load:
    """`clients` connections, to one port or to several in turn, each with one request under way,
    for `seconds`."""
    ports = (port,) if isinstance(port, int) else port
    load = Load(elapsed_s=0.0)
    expected = f"HTTP/1.1 {status}".encode()
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    deadline = began + seconds
    busy = clients
    for number in range(clients):
        client = _Client(ports[number % len(ports)])
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(next(requests))
    while busy:
        for key, _ in selector.select():
            client = key.data
            if not client.receive():
                continue
            now = time.perf_counter()
            load.latencies.append(now - client.sent_at)
            if not client.answer.startswith(expected):
                load.refused.append(client.answer[:400])
            if now < deadline:
                client.send(next(requests))
            else:
                selector.unregister(client.socket)
                client.socket.close()
                busy -= 1
    load.elapsed_s = time.perf_counter() - began
    load.latencies.sort()
    return load


def offer(
    port: int, requests: Iterator[bytes], *, per_s: float, seconds: float, status: int
) -> Load:
    """`per_s` requests a second for `seconds`, on as many connections as that takes. A latency
    counts from the moment at which the request was due, so that a stall is not left out."""
    load = Load(elapsed_s=0.0)
    expected = f"HTTP/1.1 {status}".encode()
    selector = selectors.DefaultSelector()
    idle: list[_Client] = []
    due = [number / per_s for number in range(int(per_s * seconds))]
    began, busy, sent = time.perf_counter(), 0, 0
    while sent < len(due) or busy:
        now = time.perf_counter() - began
        while sent < len(due) and due[sent] <= now:
            client = idle.pop() if idle else _connected(port, selector)
            client.send(next(requests))
            client.sent_at = began + due[sent]
            sent, busy = sent + 1, busy + 1
        wait = max(0.0, due[sent] - now) if sent < len(due) else None
        for key, _ in selector.select(wait):
            client = key.data
            if not client.receive():
                continue
            load.latencies.append(time.perf_counter() - client.sent_at)
            if not client.answer.startswith(expected):
                load.refused.append(client.answer[:400])
            idle.append(client)
            busy -= 1
    load.elapsed_s = time.perf_counter() - began
    load.latencies.sort()
    return load


def _connected(port: int, selector: selectors.BaseSelector) -> _Client:
    client = _Client(port)
    selector.register(client.socket, selectors.EVENT_READ, client)
    return client
