"""One large upload through the service into S3, against boto3's own upload to the same server.

The server is SeaweedFS from its wheel. Both send the same file in turn, with SHA-256 alone as
the house's digests; `…_defaults` has the digests of the default settings.
The best of several runs counts on both sides. What was sent is removed before the next one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config

from bench.house import folder, say, service
from bench.upload import CHUNK, GIB, Watched, generate, resident_mib, upload
from notary.settings import Settings
from tests.harness.weed import S3Server, running, weed_binary

BUCKET = "bench"
WARM = 8 * CHUNK
SETTINGS = {"": "", "_defaults": ",".join(Settings().digests)}


def measure(*, quick: bool) -> dict[str, object]:
    binary = weed_binary()
    if binary is None:
        say("no SeaweedFS here: upload to S3 is left out")
        return dict.fromkeys(("s3_upload_ratio", "s3_upload_memory_growth_mib"))
    size, runs = (GIB // 4, 2) if quick else (GIB, 4)
    figures: dict[str, object] = {}
    with folder() as where, running(binary) as server, mock.patch.dict(os.environ, _clean(server)):
        file = where / "original"
        generate(file, size)
        for suffix, digests in SETTINGS.items():
            figures |= _compare(server, file, digests, suffix, runs)
        if not quick:
            generate(file, 8 * GIB)
        growth = _growth(server, file)
    return {
        **figures,
        "s3_upload_memory_growth_mib": round(growth, 1),
        "s3_upload_memory_growth_mib_yardstick": 128,
        "s3_upload_memory_growth_at_mib": size >> 20 if quick else 8 * GIB >> 20,
    }


def _clean(server: S3Server) -> dict[str, str]:
    return dict(server.environment)


def _compare(
    server: S3Server, file: Path, digests: str, suffix: str, runs: int
) -> dict[str, object]:
    size = file.stat().st_size
    say(f"upload of {size >> 20} MiB to S3, digests sha-256 {digests or 'alone'}")
    ours, bare = 0.0, 0.0
    with _house(server, digests) as (port, key):
        upload(port, key, file, WARM)
        for _ in range(runs):  # in turn: whatever else the machine does meets both alike
            ours = max(ours, upload(port, key, file, size))
            _empty(server)
            bare = max(bare, _boto3(server, file))
            _empty(server)
    return {
        f"s3_upload_ratio{suffix}": round(ours / bare, 3),
        f"s3_upload_ratio{suffix}_yardstick": 1.0,
        f"s3_upload_mb_per_s{suffix}": round(ours / 1e6),
        f"s3_upload_mb_per_s{suffix}_yardstick": round(bare / 1e6),
    }


@contextmanager
def _house(server: S3Server, digests: str) -> Iterator[tuple[int, str]]:
    objects = f"s3://{BUCKET}/house?endpoint={server.endpoint}"
    with service(digests=digests, objects=objects) as (running_, key):
        yield running_.port, key


def _boto3(server: S3Server, file: Path) -> float:
    """Bytes a second by `upload_fileobj` as boto3 sets it up, hashing nothing for us."""
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=20),
    )  # fmt: skip
    began = time.perf_counter()
    with file.open("rb") as source:
        client.upload_fileobj(source, BUCKET, "bare/original")
    return file.stat().st_size / (time.perf_counter() - began)


def _empty(server: S3Server) -> None:
    """Removes what large objects were sent. The house's journal stays."""
    client: Any = server.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            if found["Size"] > WARM:
                client.delete_object(Bucket=BUCKET, Key=found["Key"])


def _growth(server: S3Server, file: Path) -> float:
    """MiB by which all processes of the service together grew, at the worst moment."""
    objects = f"s3://{BUCKET}/grown?endpoint={server.endpoint}"
    with service(objects=objects) as (running_, key):
        for _ in range(8):  # both processes have imported, and served, everything by then
            upload(running_.port, key, file, 4 * WARM)
        before = resident_mib(running_)
        with Watched(lambda: resident_mib(running_)) as watched:
            upload(running_.port, key, file, file.stat().st_size)
        return max(0.0, watched.highest - before)
