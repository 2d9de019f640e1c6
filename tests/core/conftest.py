from __future__ import annotations

from hypothesis import settings

# No test asserts timings: a busy machine is not a failure.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
