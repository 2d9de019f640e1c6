"""The certificate for people, on one core: typeset with its proofs inside, and sealed (PAdES
B-LTA) with two tokens of a real authority over loopback. A new certificate each time, English and
Chinese in turn; what is kept is not counted.

Beside it the same typesetting program on a sheet with one line.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import typst

from bench.house import office, say
from bench.ledger import rate
from certs.pdf import render_pdf
from certs.wording import LANGS
from notary.issue import Issued
from notary.model import Declared, Principal
from notary.office import Office
from notary.settings import Settings
from notary.tsa import QUERY_TYPE, REPLY_TYPE, TimestampAuthority

LINE = b'#set page(paper: "a4")\nOne line.\n'


@contextmanager
def served(authority: TimestampAuthority) -> Iterator[str]:
    """The authority behind HTTP, in a thread of this process: its work counts as ours."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == QUERY_TYPE
            answer = authority.exchange(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", REPLY_TYPE)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def issued_now(house: Office, by: Principal) -> Issued:
    sha256 = hashlib.sha256(os.urandom(32)).hexdigest()
    declared = Declared(name=f"{sha256[:9]}.pdf", size=1000, digests={"sha-256": sha256})
    return house.issue.certificate(house.intake.register_digests(by, declared).deposit, by=by)


def measure(*, quick: bool) -> dict[str, object]:
    say("certificates as PDF")
    count = 60 if quick else 240
    with office() as (house, by), served(house.authorities[0]) as url:
        roots = house.settings.home / "tsa-chain.pem"
        asked = replace(house.settings, tsa_urls=(url,), tsa_roots=roots)
        per_s, drawn_per_s, cpu_per_s = _sealed(asked, by, count)
    bare = rate(lambda: typst.compile(LINE), 2.0, at_once=1)
    return {
        "pdf_per_s": round(per_s, 1),
        "pdf_per_s_yardstick": round(bare, 1),
        "pdf_drawn_per_s": round(drawn_per_s, 1),
        "pdf_per_cpu_s": round(cpu_per_s, 1),
        "pdf_per_s_note": "PAdES B-LTA, authority over HTTP on loopback, en and zh in turn",
    }


def _sealed(settings: Settings, by: Principal, count: int) -> tuple[float, float, float]:
    """Papers a second, the same only drawn, and papers for each second of processor time."""
    house = Office(settings)
    try:
        issued = [issued_now(house, by) for _ in range(count)]
        langs = itertools.cycle(LANGS)
        house.issue.pdf(issued[0], lang=next(langs))
        started, worked = time.perf_counter(), time.process_time()
        for each in issued[1:]:
            house.issue.pdf(each, lang=next(langs))
        took, work = time.perf_counter() - started, time.process_time() - worked
        started = time.perf_counter()
        for each in issued[1:]:
            render_pdf(each.certificate, lang="en", verify_url="https://e.example/verify")
        drawing = time.perf_counter() - started
    finally:
        house.close()
    return (count - 1) / took, (count - 1) / drawing, (count - 1) / work
