"""What schemathesis must be told to call this API: NDJSON and COSE go out as they are written."""

from __future__ import annotations

import schemathesis
from schemathesis import SerializationContext


@schemathesis.serializer(
    "application/x-ndjson", "application/cose", "application/scitt-statement+cose"
)
def rows(_context: SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
