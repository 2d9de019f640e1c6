"""A log's public side over HTTP with nothing but the standard library: for verify.pyz, which has to
run where nothing of the service is installed. Bounded in bytes and in time; redirects are refused.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import IO, Any, Final

from notary.errors import MalformedInput, Unreachable

TIMEOUT_S: Final = 20.0
PIECE: Final = 64 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> None:  # fmt: skip
        return None


class PlainSource:
    """`url` is an http or https prefix, below which paths are asked for."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises MalformedInput (`settings`)."""
        if not url.startswith(("http://", "https://")):
            raise MalformedInput(f"{url!r} is no http(s) URL", code="settings")
        self.name = url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect())

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """As `Source.read`; refuses what is longer. Raises Unreachable."""
        url = f"{self.name}/{path}"
        deadline = time.monotonic() + self._timeout_s
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return self._body(response, url, max_bytes, deadline)
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code in (404, 410):
                    return None
            raise Unreachable(f"{url}: status {exc.code}") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Unreachable(f"{url}: {type(exc).__name__}: {exc}") from exc

    def _body(self, response: Any, url: str, max_bytes: int, deadline: float) -> bytes:
        body = bytearray()
        while piece := response.read1(PIECE):
            body += piece
            if len(body) > max_bytes:
                raise Unreachable(f"{url}: an answer of more than {max_bytes} bytes")
            if time.monotonic() > deadline:
                raise Unreachable(f"{url}: half an answer within {self._timeout_s} s")
        length = response.headers.get("Content-Length")
        if length is not None and length.isdigit() and int(length) != len(body):
            raise Unreachable(f"{url}: {len(body)} bytes of {length}")
        return bytes(body)
