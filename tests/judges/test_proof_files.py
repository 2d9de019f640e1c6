"""Our .tlog-proof files are what an independent program derives from our tiles, byte for byte.

tlog-scales' own program, over HTTP from the running service; only the checkpoint is not the
service's newest but the one in the file, so that both speak of the same tree.
"""

from __future__ import annotations

import pytest

from tests.judges.conftest import SIZES, Given, Town


class Pinned:
    """The log over HTTP as tlog-scales reads it, at one checkpoint."""

    def __init__(self, base: str, checkpoint: bytes) -> None:
        from tlog_scales.backend import HttpBackend

        self._log, self._checkpoint = HttpBackend(base), checkpoint
        self.read: list[str] = []

    def get(self, *path: str) -> bytes | None:
        if path == ("checkpoint",):
            return self._checkpoint
        self.read.append("/".join(path))
        data: bytes | None = self._log.get(*path)
        return data


@pytest.fixture(params=range(len(SIZES) + 1), ids=("small", *map(str, SIZES)))
def given(request: pytest.FixtureRequest, town: Town) -> Given:
    paper = town.papers[request.param]
    assert isinstance(paper, Given)
    return paper


def generated(
    log: Pinned, index: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> bytes:
    from tlog_scales import backend, cli

    monkeypatch.setattr(backend, "make_backend", lambda _: log)
    monkeypatch.setattr("sys.argv", ["tlog-tiles", "gen-proof", "http", str(index)])
    cli.main()
    return capsys.readouterr().out.encode()


def test_the_proof_file_is_what_scales_derives_from_our_tiles(
    town: Town, given: Given, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")
    log = Pinned(f"{town.client.base}/log", given.checkpoint)
    assert generated(log, given.index, monkeypatch, capsys) == given.proof
    assert log.read  # from tiles, not from the file


def test_partial_tiles_of_every_level_were_read(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tlog_scales", reason="tlog-scales is not installed: it was not asked")
    log = Pinned(f"{town.client.base}/log", town.last.checkpoint)
    generated(log, 0, monkeypatch, capsys)
    generated(log, town.last.index, monkeypatch, capsys)
    levels = {path.split("/")[1] for path in log.read if ".p/" in path}
    assert levels == {"0", "1", "2"}
