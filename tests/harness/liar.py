"""An RFC 3161 authority, over HTTP on a free port of loopback, that lies on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from asn1crypto import tsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.harness.tokens import DAY, TIME_STAMPING, Draft, Issued, issue, refusal


class Lie(StrEnum):
    NONE = "none"
    WRONG_IMPRINT = "wrong imprint"
    WRONG_NONCE = "wrong nonce"
    NO_NONCE = "no nonce"
    EXPIRED = "expired certificate"
    NO_PURPOSE = "no extended key usage"
    PURPOSE_NOT_CRITICAL = "extended key usage not critical"
    PURPOSE_NOT_ALONE = "extended key usage not alone"
    OTHER_ROOT = "chain to another root"
    SKEWED = "skewed clock"
    GARBAGE = "garbage"
    EMPTY = "empty body"
    CUT = "half a response"
    SLOW = "one byte at a time"
    SILENT = "no answer"
    HUGE = "endless body"
    ERROR = "status 500"
    REDIRECT = "status 302"
    CONTENT_TYPE = "wrong content type"
    REFUSED = "refused"
    HANG_UP = "connection closed"


class Liar:
    """The server. Set `lie`, then ask at `url`; `root` is the root to configure."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lie = Lie.NONE
        self.asked: list[bytes] = []
        self.ended = threading.Event()
        now = datetime.now(UTC).replace(microsecond=0)
        self._valid = (now - DAY, now + DAY)
        self._root = issue("Liar root", ca=True, valid=(now - 9 * DAY, now + DAY))
        self._other = issue("Liar root", ca=True, valid=self._valid)
        self._signers = {
            Lie.EXPIRED: self._signer(valid=(now - 3 * DAY, now - 2 * DAY)),
            Lie.NO_PURPOSE: self._signer(purposes=()),
            Lie.PURPOSE_NOT_CRITICAL: self._signer(purposes_critical=False),
            Lie.PURPOSE_NOT_ALONE: self._signer(
                purposes=(TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)
            ),
            Lie.OTHER_ROOT: self._signer(issuer=self._other),
        }
        self._honest = self._signer()

    @property
    def root(self) -> bytes:
        return self._root.der

    def _signer(self, **otherwise: Any) -> Issued:
        settings: dict[str, Any] = {"issuer": self._root, "valid": self._valid} | otherwise
        return issue("Liar", **settings)

    def answer(self, request_der: bytes) -> bytes:
        """The body for a request, told as `lie` says."""
        self.asked.append(request_der)
        if self.lie is Lie.GARBAGE:
            return b"\x30\x82\x01\x00<html>not a timestamp</html>"
        if self.lie is Lie.EMPTY:
            return b""
        if self.lie is Lie.REFUSED:
            return refusal("rejection", "bad_request", text="not today")
        request = tsp.TimeStampReq.load(request_der)
        imprint = bytes(request["message_imprint"]["hashed_message"])
        nonce = request["nonce"].native
        skew = timedelta(hours=1) if self.lie is Lie.SKEWED else timedelta(0)
        body = Draft(
            signer=self._signers.get(self.lie, self._honest),
            imprint=bytes(32) if self.lie is Lie.WRONG_IMPRINT else imprint,
            nonce={Lie.WRONG_NONCE: nonce + 1, Lie.NO_NONCE: None}.get(self.lie, nonce),
            gen_time=datetime.now(UTC) - skew,
        ).response()
        return body[: len(body) // 2] if self.lie is Lie.CUT else body


class _Handler(BaseHTTPRequestHandler):
    liar: Liar
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet: what it was asked is in `asked`."""

    def do_POST(self) -> None:
        body = self.liar.answer(self.rfile.read(int(self.headers["Content-Length"])))
        lie, media_type = self.liar.lie, "application/timestamp-reply"
        self.close_connection = True
        if lie is Lie.HANG_UP:
            return
        if lie is Lie.SILENT:
            self.liar.ended.wait(30)
            return
        status = {Lie.ERROR: 500, Lie.REDIRECT: 302}.get(lie, 200)
        self.send_response(status)
        self.send_header("Location", self.liar.url)
        self.send_header("Content-Type", "text/html" if lie is Lie.CONTENT_TYPE else media_type)
        self.end_headers()
        for piece in self._pieces(body):
            try:
                self.wfile.write(piece)
            except OSError:
                return

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        if self.liar.lie is Lie.HUGE:
            while not self.liar.ended.is_set():
                yield bytes(8192)
        elif self.liar.lie is Lie.SLOW:
            for at in range(len(body)):
                if self.liar.ended.wait(0.05):
                    return
                yield body[at : at + 1]
        else:
            yield body


@contextmanager
def lying_authority() -> Iterator[Liar]:
    """A Liar on a free port of loopback, for as long as the block runs."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        liar = Liar(f"http://127.0.0.1:{server.server_address[1]}/tsa")
        handler.liar = liar  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield liar
        finally:
            liar.ended.set()
            server.shutdown()
            thread.join()
