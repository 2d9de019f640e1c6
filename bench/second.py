"""What a second node adds: PostgreSQL with fsync, an S3 server with Object Lock, and nodes that are
hosts of a fixed size, as control groups hold them to. Database, store and load generator have the
rest of the machine.

One node and two in turn, as many clients for each node. Beside it the same with a request that
reads one page of no database: what two such hosts could add at best.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from bench.batch import post_rows, rows
from bench.cores import Host, host
from bench.house import folder, say
from bench.load import Load, drive, post, random_documents
from tests.harness.nodes import scaled_house
from tests.harness.postgres import running_postgres
from tests.harness.server import Service
from tests.harness.weed import running, weed_binary

CORES: Final = 0.25
CLIENTS: Final = 32
DOCUMENT_BYTES: Final = 1024
BATCH_ROWS: Final = 2_000
KEYS: Final = (
    "second_node_ratio", "second_node_ratio_yardstick", "second_node_one_per_s",
    "second_node_two_per_s", "second_node_batch_ratio", "second_node_how",
)  # fmt: skip


def measure(*, quick: bool) -> dict[str, object]:
    binary = weed_binary()
    with contextlib.ExitStack() as held:
        hosts = [held.enter_context(host(CORES)) for _ in range(2)]
        if binary is None or None in hosts:
            say("second node: no control groups or no S3 server here")
            return dict.fromkeys(KEYS)
        weed = held.enter_context(running(binary))
        os.environ.update(weed.environment)
        postgres = held.enter_context(running_postgres(fsync=True))
        where = held.enter_context(folder())
        nodes = held.enter_context(
            scaled_house(where, postgres, weed, web_processes="1", web_threads="32",
                         timestamp_interval="1.0")
        )  # fmt: skip
        key = nodes.first.key("bench")
        return _compare(
            [nodes.first, nodes.join()], [each for each in hosts if each], key, quick=quick
        )


def _compare(
    nodes: Sequence[Service], hosts: Sequence[Host], key: str, *, quick: bool
) -> dict[str, object]:
    seconds, rounds = (4.0, 1) if quick else (12.0, 3)
    found: dict[str, list[float]] = {}
    refused = 0
    for _ in range(rounds):
        for count in (1, 2):
            say(f"second node: {count} × {CORES} of a core, {count * CLIENTS} clients")
            with _started(nodes[:count], hosts):
                ports = tuple(node.port for node in nodes[:count])
                _deposits(ports, key, 2.0)
                before = [its.periods() for its in hosts]
                load = _deposits(ports, key, seconds)
                found.setdefault(f"full {count}", []).append(_full(before, hosts[:count]))
                refused += len(load.refused)
                found.setdefault(f"deposits {count}", []).append(load.per_s)
                found.setdefault(f"pages {count}", []).append(_pages(ports, seconds / 3))
                if not quick:
                    found.setdefault(f"batch {count}", []).append(_batches(ports, key, 2))
    if refused:
        raise RuntimeError(f"{refused} deposits were refused")
    middle = {name: statistics.median(values) for name, values in found.items()}
    say(json.dumps(found))
    return {
        "second_node_ratio": round(middle["deposits 2"] / middle["deposits 1"], 2),
        "second_node_ratio_yardstick": round(middle["pages 2"] / middle["pages 1"], 2),
        "second_node_one_per_s": round(middle["deposits 1"]),
        "second_node_two_per_s": round(middle["deposits 2"]),
        "second_node_batch_ratio": (
            None if quick else round(middle["batch 2"] / middle["batch 1"], 2)
        ),
        "second_node_how": (
            f"each node a control group of {CORES} of a core, which wanted more in "
            f"{middle['full 1']:.0%} of its periods alone and in {middle['full 2']:.0%} with the "
            "other; "
            "PostgreSQL, SeaweedFS and the load generator on the rest of "
            f"{len(os.sched_getaffinity(0))} cores"
        ),
    }


def _full(before: Sequence[tuple[int, int]], hosts: Sequence[Host]) -> float:
    """The part of the periods since then in which the nodes wanted more than they may have."""
    since = [
        (now - then, ran - had)
        for (then, had), (now, ran) in zip(before, map(Host.periods, hosts), strict=False)
    ]
    return sum(each[0] for each in since) / max(sum(each[1] for each in since), 1)


@contextlib.contextmanager
def _started(nodes: Sequence[Service], hosts: Sequence[Host]) -> Iterator[None]:
    try:
        for node in nodes:
            node.spawn()
        for node, its in zip(nodes, hosts, strict=False):
            node.await_answer()
            for pid in node.family():  # not before: a start is no part of what is measured
                its.take(pid)
        yield
    finally:
        for node in nodes:
            node.stop()


def _deposits(ports: tuple[int, ...], key: str, seconds: float) -> Load:
    head = post(
        "/v1/deposits", key, DOCUMENT_BYTES, Content_Type="application/octet-stream"
    )  # fmt: skip
    return drive(
        ports,
        random_documents(head, DOCUMENT_BYTES),
        clients=CLIENTS * len(ports),
        seconds=seconds,
        status=201,
    )


def _pages(ports: tuple[int, ...], seconds: float) -> float:
    def asks() -> Iterator[bytes]:
        while True:
            yield b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    return drive(
        ports, asks(), clients=CLIENTS * len(ports), seconds=seconds, status=200
    ).per_s  # fmt: skip


def _batches(ports: tuple[int, ...], key: str, each: int) -> float:
    """Rows a second: two batches at a time for each node."""
    bodies = [b"".join(rows(BATCH_ROWS)) for _ in range(2 * len(ports) * each)]

    def work(port: int, mine: Sequence[bytes]) -> None:
        for body in mine:
            post_rows(port, key, body)

    threads = [
        threading.Thread(target=work, args=(port, bodies[n :: 2 * len(ports)]))
        for n, port in enumerate(ports * 2)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(bodies) * BATCH_ROWS / (time.perf_counter() - began)
