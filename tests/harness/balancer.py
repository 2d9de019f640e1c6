"""A load balancer as small as can be, of real sockets: it asks every node's /readyz and gives each
new connection to a ready one. It reads nothing of what goes through and repeats nothing: a request
that a node fails has failed."""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests

LOOK_S = 0.1
CHUNK = 1 << 16


class Balancer:
    def __init__(self, *ports: int) -> None:
        """Of nodes on loopback."""
        self.port = 0
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._nodes = set(ports)
        self._ready: tuple[int, ...] = ()
        self._stop = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> frozenset[int]:
        return frozenset(self._ready)

    def add(self, port: int) -> None:
        with self._lock:
            self._nodes.add(port)

    def remove(self, port: int) -> None:
        with self._lock:
            self._nodes.discard(port)

    def choose(self) -> int | None:
        ready = self._ready
        return ready[next(self._turn) % len(ready)] if ready else None

    def look(self) -> None:
        """Until told to stop."""
        while not self._stop.wait(LOOK_S):
            with self._lock:
                nodes = sorted(self._nodes)
            self._ready = tuple(port for port in nodes if _is_ready(port))

    def stop(self) -> None:
        self._stop.set()


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def balancing(*ports: int) -> Iterator[Balancer]:
    balancer = Balancer(*ports)

    class Through(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            port = balancer.choose()
            if port is None:
                return
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as to:
                to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_pump, args=(to, self.request), daemon=True)
                back.start()
                _pump(self.request, to)
                back.join()

    class Door(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 128

    with Door(("127.0.0.1", 0), Through) as door:
        balancer.port = door.server_address[1]
        threads = [
            threading.Thread(target=door.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=balancer.look, daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield balancer
        finally:
            balancer.stop()
            door.shutdown()
            for thread in threads:
                thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Until one of them ends; then the other learns of it."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
