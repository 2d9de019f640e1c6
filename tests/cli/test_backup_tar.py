"""A tar that somebody else made writes nothing outside the folder it is unpacked into."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from notary.errors import MalformedInput
from notary.restore import restore
from notary.settings import Settings


def _member(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    content = b"x" if kind == tarfile.REGTYPE else b""
    info.size = len(content)
    return info, content


@pytest.mark.parametrize(
    "members",
    [
        [_member("../outside", tarfile.REGTYPE)],
        [_member("a/../../outside", tarfile.REGTYPE)],
        [_member("/tmp/outside-of-a-backup", tarfile.REGTYPE)],  # refused
        [_member("link", tarfile.SYMTYPE, ".."), _member("link/outside", tarfile.REGTYPE)],
        [_member("hard", tarfile.LNKTYPE, "/etc/hostname")],
        [_member("pipe", tarfile.FIFOTYPE)],
    ],
)
def test_a_member_that_is_no_plain_file_below_its_folder_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    source = tmp_path / "backup.tar"
    with tarfile.open(source, "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MalformedInput) as refused:
        restore(Settings(home=tmp_path / "home"), source)
    assert refused.value.code == "backup_malformed"
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("/tmp/outside-of-a-backup").exists()
