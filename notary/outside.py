"""HTTP to parties that are not us: bounded in bytes and in time, whatever they do.

The time limits of requests are for each single read, and for none of a name look-up: a server
that drips one byte at a time could hold a worker for days. So an exchange has a thread of its
own, which is left behind, to end with its socket, when the time is up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from notary.errors import Unreachable

RETRY_AFTER_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, whatever it is. `media_type` is lower case, without parameters."""

    status: int
    media_type: str
    body: bytes


def exchange(
    url: str,
    *,
    who: str,
    timeout_s: float,
    max_bytes: int,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A POST of `data`, or a GET without. Redirects are not followed.

    Raises Unreachable, naming `who`, when there is no whole answer of at most `max_bytes` within
    `timeout_s` in all.
    """
    asked = _Exchange(url, who, timeout_s, max_bytes, data, headers or {})
    answers: queue.SimpleQueue[Reply | Unreachable] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(asked.run())
        except Unreachable as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"asking {who}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise asked.unreachable(f"no answer within {timeout_s} s") from None
    if isinstance(answer, Unreachable):
        raise answer
    return answer


@dataclass(frozen=True, slots=True)
class _Exchange:
    url: str
    who: str
    timeout_s: float
    max_bytes: int
    data: bytes | None
    headers: Mapping[str, str]

    def run(self) -> Reply:
        deadline = time.monotonic() + self.timeout_s
        # The encoding is refused so that the limit is one and no archive bomb slips under it.
        headers = {**self.headers, "Accept-Encoding": "identity"}
        try:
            with requests.request(
                "GET" if self.data is None else "POST",
                self.url,
                data=self.data,
                headers=headers,
                timeout=self.timeout_s,
                stream=True,
                allow_redirects=False,
            ) as response:
                media_type = response.headers.get("Content-Type", "").partition(";")[0]
                return Reply(
                    status=response.status_code,
                    media_type=media_type.strip().lower(),
                    body=self._read(response, deadline),
                )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise self.unreachable(f"{type(error).__name__}: {error}") from error

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        # read1 gives what has arrived; read and iter_content would wait for a full piece.
        while piece := response.raw.read1(8192, decode_content=False):
            body += piece
            if len(body) > self.max_bytes:
                raise self.unreachable(f"an answer of more than {self.max_bytes} bytes")
            if time.monotonic() > deadline:
                raise self.unreachable(f"half an answer within {self.timeout_s} s")
        return bytes(body)

    def unreachable(self, why: str) -> Unreachable:
        return Unreachable(f"{self.who}: {why}", retry_after_s=RETRY_AFTER_S)
