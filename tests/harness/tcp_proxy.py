"""A stretch of network between the service and a server: it can end connections and refuse new
ones, as a server does that is gone, or go silent, as a cable does that is out.

What a silent one swallowed, the system has acknowledged to its sender: so it stands for a server
that hangs. Packets that are really lost are `tests.harness.packets`' matter.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Way(StrEnum):
    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


class TcpProxy:
    """Listens on a port of loopback that stays the same; set `way` through its methods."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._way = Way.OPEN
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._ended = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def heal(self) -> None:
        self._way = Way.OPEN
        self._open.set()

    def refuse(self) -> None:
        """Ends what is connected, and whoever comes, until healed."""
        self._way = Way.REFUSED
        self.cut()
        self._open.set()

    def silence(self) -> None:
        """Nothing passes any more, in either direction, and nobody is told; what came meanwhile
        arrives when it is healed."""
        self._way = Way.SILENT
        self._open.clear()

    def cut(self) -> int:
        """Resets all connections of this moment; tells how many."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for each in pair:
                _reset(each)
        return len(pairs)

    def close(self) -> None:
        self._ended = True
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._way is Way.REFUSED:
                _reset(client)
                continue
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self._open.wait()
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        there = threading.Thread(target=self._pump, args=(client, server), daemon=True)
        there.start()
        self._pump(server, client)
        there.join()
        with self._lock:
            self._pairs.discard(pair)
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._open.wait()
                sink.sendall(data)
            self._open.wait()
            sink.shutdown(socket.SHUT_WR)
            return
        for each in (source, sink):
            _reset(each)


def _reset(connection: socket.socket) -> None:
    """Ends it at once, so that the other side gets an error rather than an orderly end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def proxied(port: int) -> Iterator[TcpProxy]:
    """In front of a server on that port of loopback, for as long as the block runs."""
    proxy = TcpProxy(("127.0.0.1", port))
    try:
        yield proxy
    finally:
        proxy.close()
