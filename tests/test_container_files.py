"""The image and the composed house keep their promises: no root, nothing writable that need not
be, no secret in the files, nothing that starts before what it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml
from packaging.requirements import Requirement

from notary.cli.main import cli
from notary.settings import describe
from storage.s3 import S3Store
from storage.stores import open_store
from tests.harness.weed import ABSENT, weed_binary

ROOT: Final = Path(__file__).parents[1]
SECRET: Final = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN|PRIVATE")
REQUIRED: Final = re.compile(r"\$\{[A-Z0-9_]+:\?[^}]+\}")


def dockerfile() -> list[tuple[str, str]]:
    """The instructions in order: (name, arguments on one line)."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(name, arguments) for name, _, arguments in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    instructions = dockerfile()
    last = max(n for n, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def arguments_of(name: str, instructions: list[tuple[str, str]]) -> list[str]:
    return [arguments for found, arguments in instructions if found == name]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def test_base_images_are_named_with_the_python_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = re.findall(r"\d+\.\d+", project["requires-python"])
    for image in arguments_of("FROM", dockerfile()):
        assert image.split()[0] == f"python:{python}-slim"


def test_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    stage = final_stage()
    assert arguments_of("USER", stage) == ["10001:10001"]
    names = [name for name, _ in stage]
    assert "RUN" not in names[names.index("USER") :]
    assert "COPY" not in names[names.index("USER") :]


def test_image_keeps_everything_in_its_one_volume() -> None:
    stage = final_stage()
    (environment,) = arguments_of("ENV", stage)
    home = re.search(r"NOTARY_HOME=(\S+)", environment)
    assert home is not None
    assert arguments_of("VOLUME", stage) == [home[1]]


def test_image_starts_the_command_without_a_shell() -> None:
    assert arguments_of("ENTRYPOINT", final_stage()) == ['["notary"]']
    assert arguments_of("CMD", final_stage()) == ['["serve"]']


def test_packages_come_from_the_lock_and_from_nowhere_else() -> None:
    everything = " && ".join(arguments_of("RUN", dockerfile()))
    installs = re.findall(r"pip install ([^&;]+)", everything)
    assert [set(line.split()) for line in installs] == [
        {"--require-hashes", "--only-binary", ":all:", "-r", "requirements.txt"}
    ]
    assert not re.search(r"\b(curl|wget|git clone|apt-get|apk|npm)\b", everything)
    assert not arguments_of("ADD", dockerfile())


def recipe(target: str) -> tuple[list[str], str]:
    """(what the Makefile's target is made from, its commands)."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{re.escape(target)}:(.*)\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None, target
    return found[1].split(), found[2]


def pip_installs(commands: str) -> list[set[str]]:
    """The words of each pip install, but for those that only change what is printed."""
    quiet = {"--quiet", "--disable-pip-version-check"}
    found = re.findall(r"pip\b[^\n&;]*? install ([^\n&;]+)", commands)
    return [set(words.split()) - quiet for words in found]


def pins(lock: str) -> dict[str, str]:
    """Package to version and hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    found = re.findall(r"^([a-z0-9][^=\s\[]*)(?:\[[^\]]*\])?==(\S+)(.*)$", text, re.MULTILINE)
    return {name: " ".join([version, *sorted(rest.split())]) for name, version, rest in found}


def test_makefile_and_image_install_the_same_lock_with_its_hashes() -> None:
    needed, commands = recipe("$(VENV)/run")
    assert needed == ["requirements.txt"]
    (made,) = pip_installs(commands)
    (image,) = pip_installs(" && ".join(arguments_of("RUN", dockerfile())))
    assert made == {"--require-hashes", "-r", "requirements.txt"}
    assert image - made == {"--only-binary", ":all:"}
    assert made <= image


def test_makefile_and_image_put_the_code_on_the_path_and_start_the_same_command() -> None:
    _, made = recipe("$(VENV)/run")
    image = " ".join(arguments_of("RUN", dockerfile()))
    for commands in (made, image):
        assert re.search(r"> \S*\S+/[a-z]+\.pth\"|/[a-z]+\.pth\"", commands), commands
        assert "notary.cli.main" in commands
        assert re.search(r"chmod (\+x|0755) \S+/notary\b", commands), commands
    _, run = recipe("run")
    (init,) = re.findall(r"notary (init.*)", run)
    assert init.split() == ["init", "--if-absent"]


def test_what_is_wanted_with_an_extra_is_locked_with_it() -> None:
    """Else the installer looks at the newest release for the extra, and finds that not locked."""
    lock = (ROOT / "requirements.txt").read_text()
    for dist in map(metadata.distribution, pins("requirements.txt")):
        for wanted in map(Requirement, dist.requires or ()):
            if wanted.extras and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                name = f"{wanted.name.lower()}[{','.join(sorted(wanted.extras))}]=="
                assert f"\n{name}" in lock, f"{dist.name} wants {wanted}"


def test_development_adds_to_the_lock_and_changes_nothing_of_it() -> None:
    needed, commands = recipe("$(VENV)/dev")
    assert set(needed) == {"requirements-dev.txt", "$(VENV)/run"}
    assert pip_installs(commands) == [{"--require-hashes", "-r", "requirements-dev.txt"}]
    assert "-c requirements.txt" in (ROOT / "requirements-dev.in").read_text().splitlines()
    run, development = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {"flask", "sqlalchemy", "psycopg"} <= run.keys()
    assert {n: development[n] for n in development.keys() & run.keys()} == {
        n: run[n] for n in development.keys() & run.keys()
    }
    assert all("--hash=sha256:" in pin for pin in (run | development).values())


def test_a_house_that_stands_is_left_alone_by_the_composed_start(compose: dict[str, Any]) -> None:
    assert compose["services"]["init"]["command"] == ["init", "--if-absent"]
    command = cli.commands[compose["services"]["init"]["command"][0]]
    assert "--if-absent" in {name for each in command.params for name in each.opts}
    assert compose["services"]["notary"]["command"] == ["serve"]
    assert "serve" in cli.list_commands(click.Context(cli))


def test_every_setting_that_is_composed_is_one(compose: dict[str, Any]) -> None:
    known = {name for name, _, _ in describe()}
    (built_in,) = arguments_of("ENV", final_stage())
    given = set(re.findall(r"\b(NOTARY_[A-Z_]+)=", built_in))
    for name in ("bucket", "init", "notary"):
        given |= {
            each for each in compose["services"][name]["environment"] if each.startswith("NOTARY_")
        }
    assert given <= known
    assert "NOTARY_HOST=0.0.0.0" in built_in
    # The address it listens on in there is nobody's: links need another.
    assert REQUIRED.match(compose["services"]["notary"]["environment"]["NOTARY_PUBLIC_URL"])


def test_image_holds_no_secret() -> None:
    for name in ("ENV", "ARG"):
        assert not SECRET.search(" ".join(arguments_of(name, dockerfile())))


def test_image_holds_every_package_and_the_context_nothing_else() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    copies = [line for line in arguments_of("COPY", dockerfile()) if "--from" not in line]
    copied = {line.split()[0] for line in copies}
    assert copied == allowed
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {package.partition(".")[0] for package in setuptools["packages"]}
    modules = {f"{module}.py" for module in setuptools["py-modules"]}
    assert copied == packages | modules | {"requirements.txt", "verifier"}


class Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Health) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def health_of(port: int) -> int:
    (check,) = arguments_of("HEALTHCHECK", final_stage())
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "python"
    environment = {"NOTARY_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    return done.returncode


def test_health_check_passes_when_the_service_is_well(server: HTTPServer) -> None:
    assert health_of(server.server_port) == 0


@pytest.mark.parametrize("status", [404, 500, 503])
def test_health_check_fails_when_the_service_is_not_well(
    server: HTTPServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "status", status)
    assert health_of(server.server_port) != 0


def test_health_check_fails_when_nobody_listens(server: HTTPServer) -> None:
    port = server.server_port
    server.socket.close()
    assert health_of(port) != 0


def test_every_service_is_locked_down(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"]), name
        user, group = service["user"].split(":")
        assert int(user) > 0 and int(group) > 0, name
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices"}
        assert "docker.sock" not in json.dumps(service.get("volumes", [])), name


def test_every_image_has_a_version(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        _, _, tag = service["image"].rpartition(":")
        assert re.search(r"\d", tag)
        assert tag != "latest"


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    seen = set()
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if SECRET.search(name):
                assert REQUIRED.fullmatch(value), name
                seen.add(name)
    assert seen >= {"POSTGRES_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"}
    assert not re.search(r"://[^/@\s]+:[^/@\s]+@", (ROOT / "compose.yaml").read_text())


def test_only_the_service_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert list(published) == ["notary"]
    assert all(port.startswith("127.0.0.1:") for port in published["notary"])
    (environment,) = arguments_of("ENV", final_stage())
    (inside,) = re.findall(r"NOTARY_PORT=(\d+)", environment)
    assert published["notary"][0].endswith(f":{inside}")
    assert arguments_of("EXPOSE", final_stage()) == [inside]


def test_database_and_objects_have_no_way_out(compose: dict[str, Any]) -> None:
    for name in ("postgres", "seaweedfs"):
        (network,) = compose["services"][name]["networks"]
        assert compose["networks"][network]["internal"] is True


def test_nothing_starts_before_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            once = services[needed]["restart"] == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, (name, needed)
            assert once or "test" in services[needed]["healthcheck"], needed
    assert set(services["notary"]["depends_on"]) >= {"init", "postgres", "seaweedfs"}
    assert set(services["init"]["depends_on"]) == {"bucket", "postgres"}


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {v.partition(":")[0] for s in compose["services"].values() for v in s["volumes"]}
    assert used == set(compose["volumes"])


def test_originals_are_locked_for_as_long_as_the_operator_says(compose: dict[str, Any]) -> None:
    environment = compose["services"]["notary"]["environment"]
    (days,) = REQUIRED.findall(environment["NOTARY_OBJECTS"])
    url = environment["NOTARY_OBJECTS"].replace(days, "3650")
    assert "lock=compliance" in url
    assert isinstance(open_store(url), S3Store)


def test_s3_server_is_started_with_options_that_it_has(compose: dict[str, Any]) -> None:
    binary = weed_binary()
    if binary is None:
        pytest.skip(ABSENT)
    said = subprocess.run([binary, "server", "-h"], capture_output=True, text=True, check=False)
    known = set(re.findall(r"^  -(\S+)", said.stdout + said.stderr, re.MULTILINE))
    command = compose["services"]["seaweedfs"]["command"]
    options = {
        name.lstrip("-"): value for name, _, value in (word.partition("=") for word in command[2:])
    }
    assert options.keys() - known == set()
    assert options["master.telemetry"] == "false"
    assert options["ip.bind"] == "127.0.0.1"
    assert options["s3.allowDeleteBucketNotEmpty"] == "false"


def test_nodes_share_the_keys_and_nothing_else(compose: dict[str, Any]) -> None:
    """Each container has the image's own volume as its home; only `init` writes keys."""
    (home,) = arguments_of("VOLUME", final_stage())
    for name in ("notary", "worker"):
        assert compose["services"][name]["volumes"] == [f"notary-keys:{home}/keys:ro"]
    assert compose["services"]["init"]["volumes"] == [f"notary-keys:{home}/keys"]
    made = " ".join(arguments_of("RUN", final_stage()))
    assert f"{home}/keys" in made  # else the new volume would be root's


def test_a_node_is_given_the_time_to_end_without_a_failed_request(compose: dict[str, Any]) -> None:
    node = compose["services"]["notary"]
    named = {name: node["environment"][f"NOTARY_{name}_SECONDS"] for name in ("DRAIN", "FINISH")}
    (minutes,) = re.fullmatch(r"(\d+)m", node["stop_grace_period"]).groups()  # type: ignore[union-attr]
    assert int(named["DRAIN"]) > 0
    assert int(minutes) * 60 >= sum(map(int, named.values())) + 40
    assert "/readyz" in " ".join(node["healthcheck"]["test"])
    # The image's own check is whether the process lives: who ends what fails it must not end a
    # node that drains.
    (check,) = arguments_of("HEALTHCHECK", final_stage())
    assert "/healthz" in check
