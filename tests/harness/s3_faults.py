"""What stands between the service and its S3 server, and can do what such servers do on bad days.

Every request is passed on as it came, signature and all, and every answer given back as it came,
unless the fault of the moment takes this one. Which ones it takes is drawn from a seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Fault(StrEnum):
    NONE = "none"
    ERROR = "500 InternalError, nothing done"
    SLOW_DOWN = "503 SlowDown, nothing done"
    LATE_ERROR = "500 InternalError, but it was done"
    CUT_REQUEST = "the connection ends in the middle of the request's body"
    CUT_ANSWER = "the connection ends in the middle of the answer's body"
    NO_ANSWER = "done, but the connection ends before the answer"
    VANISHED = "200 to a write that never happens"
    HANGING = "no answer until the fault ends"


_CODES = {
    Fault.ERROR: (500, "InternalError"),
    Fault.LATE_ERROR: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
}


class S3Faults:
    """Set `begin` and `end`. `met` counts the requests that a fault took."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.met: Counter[Fault] = Counter()
        self.released = threading.Event()
        self._fault = Fault.NONE
        self._share = 0.0
        self._chance = random.Random(0)
        self._lock = threading.Lock()

    def begin(self, fault: Fault, *, share: float = 1.0, seed: int = 0) -> None:
        """From now on that share of the requests meets it."""
        with self._lock:
            self._chance = random.Random(seed)
            self._fault, self._share = fault, share
            self.released.clear()

    def end(self) -> None:
        with self._lock:
            self._fault = Fault.NONE
            self.released.set()

    def next(self, method: str, path: str) -> Fault:
        """What happens to this one."""
        with self._lock:
            fault = self._fault
            if fault is Fault.NONE or self._chance.random() >= self._share:
                return Fault.NONE
            if fault is Fault.CUT_ANSWER and method != "GET":
                return Fault.NONE
            # Only whole originals vanish: a part, or an answer that names an upload, would be
            # noticed by S3 itself.
            if fault is Fault.VANISHED and (method != "PUT" or "/originals/" not in path):
                return Fault.NONE
            self.met[fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    faults: S3Faults
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet: what was met is counted."""

    def _pass(self) -> None:
        fault = self.faults.next(self.command, urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault is Fault.CUT_REQUEST and length:
            self.rfile.read(length // 2)
            self._hang_up()
            return
        body = self.rfile.read(length) if length else b""
        if fault is Fault.HANGING:
            self.faults.released.wait(90)
            self._hang_up()
        elif fault in (Fault.ERROR, Fault.SLOW_DOWN):
            self._refuse(fault)
        elif fault is Fault.VANISHED:
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            self._answer(200, [("ETag", f'"{etag}"')], b"")
        else:
            self._ask(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815  # the library's names

    def _ask(self, body: bytes, fault: Fault) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.faults.target, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            given = answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()  # the server is gone
            return
        finally:
            upstream.close()
        if fault is Fault.NO_ANSWER:
            self._hang_up()
        elif fault is Fault.LATE_ERROR:
            self._refuse(fault)
        else:
            self._answer(answer.status, answer.getheaders(), given, cut=fault is Fault.CUT_ANSWER)

    def _refuse(self, fault: Fault) -> None:
        status, code = _CODES[fault]
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
            f"<Message>{fault.value}</Message></Error>"
        ).encode()
        self._answer(status, [("Content-Type", "application/xml")], body)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if not any(name.lower() == "date" for name, _ in headers):
            self.send_header("Date", self.date_time_string())
        # To HEAD the length is that of the body which is not sent.
        length = lengths[0] if self.command == "HEAD" and lengths else str(len(body))
        self.send_header("Content-Length", length)
        with contextlib.suppress(OSError):
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed: nothing to say."""


@contextmanager
def s3_faults(target: int) -> Iterator[S3Faults]:
    """In front of the S3 server on that port of loopback, for as long as the block runs."""
    faults = S3Faults(target)
    handler = type("Handler", (_Handler,), {"faults": faults})
    with _Server(("127.0.0.1", 0), handler) as server:
        faults.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield faults
        finally:
            faults.end()
            server.shutdown()
            thread.join()
