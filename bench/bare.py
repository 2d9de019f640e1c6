"""The least a server can do with a document: take it, hash it, make a file of it durable, answer.

Served by `bench.single` as its yardstick; says that it is there by a file `ready`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_FOLDER = os.environ["BARE_FOLDER"]
with open(os.path.join(_FOLDER, "ready"), "a"):
    pass


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    digest = hashlib.sha256(body).hexdigest()
    file = os.open(os.path.join(_FOLDER, os.urandom(12).hex()), os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(file, body)
    os.fsync(file)
    os.close(file)
    answer = f'{{"sha-256":"{digest}"}}'.encode()
    start_response(
        "201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]
