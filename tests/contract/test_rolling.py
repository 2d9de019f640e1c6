"""Nodes come and go under load, by the commands that an operator types: no request fails, nothing
that was acknowledged is missing, no index is given twice.

Real nodes with homes of their own, on PostgreSQL and S3, behind a proxy that reads /readyz.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from tests.contract.stores import scrub_aws
from tests.harness.balancer import Balancer, balancing
from tests.harness.crowd import Crowd, Slow
from tests.harness.nodes import Nodes, scaled_house
from tests.harness.person import PASSWORD, Person, create
from tests.harness.postgres import shared_postgres
from tests.harness.server import Client, Service
from tests.harness.weed import shared_server

pytestmark = pytest.mark.slow

DRAIN_S = 2.0
CLERK = "the clerk"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes, running, and the administrator's password set."""
    weed = shared_server()
    with pytest.MonkeyPatch.context() as patch:
        scrub_aws(patch)
        for name, value in weed.environment.items():
            patch.setenv(name, value)
        with scaled_house(
            tmp_path_factory.mktemp("nodes"),
            shared_postgres(),
            weed,
            drain_seconds=str(DRAIN_S),
            sign_in_per_minute="100000",
            verify_per_minute="5",
        ) as nodes:
            nodes.first.start()
            nodes.join().start()
            administrator = Person(nodes.first.base)
            administrator.spend(nodes.first.link)
            link = create(administrator, CLERK, "clerk")
            Person(nodes.first.base).spend(link)
            yield nodes


@pytest.fixture(scope="module")
def key(house: Nodes) -> str:
    return house.first.key("agency")


def both(house: Nodes) -> tuple[Service, Service]:
    return house.first, house.others[0]


def end(node: Service, how: signal.Signals = signal.SIGTERM) -> int:
    assert node.process is not None
    node.process.send_signal(how)
    return node.process.wait(120)


def check(house: Nodes, crowd: Crowd, key: str) -> None:
    """Nothing failed; all that was acknowledged is there, once, and everything is derived again."""
    assert crowd.failed == []
    assert Counter(crowd.indices).most_common(1)[0][1] == 1
    assert len(crowd.indices) == len(crowd.made)
    client = Client(house.first.base, key)
    stands: dict[str, bytes] = {}
    after: dict[str, str] = {}
    while True:
        page = client.get("/v1/deposits", params={"limit": "200", **after}).json()
        for each in page["items"]:
            stands[each["id"]] = bytes.fromhex(each["sha256"])
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert crowd.made.items() <= stands.items()
    # And their originals are those bytes, which fsck reads, each of them.
    checked = house.first.cli("fsck", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 faults" in checked.stdout
    for kind in ("deposit", "upload", "checkpoint", "content", "page", "sign in", "sign out"):
        assert crowd.counts.get(kind), crowd.counts


def tree_size(node: Service) -> int:
    return int(requests.get(f"{node.base}/log/checkpoint", timeout=30).text.splitlines()[1])


def signed_in(base: str, name: str = CLERK) -> Person:
    person = Person(base)
    person.sign_in(name, PASSWORD)
    return person


def roll(house: Nodes, balancer: Balancer, *nodes: Service) -> None:
    """Each ended and started again, the next when the proxy has seen it come back."""
    for node in nodes:
        assert end(node) == 0
        node.start()
        house.first.wait_for(lambda port=node.port: port in balancer.ready())


@pytest.mark.parametrize("rounds", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_nodes_are_restarted_one_after_the_other_without_a_failed_request(
    house: Nodes, key: str, rounds: int
) -> None:
    first, second = both(house)
    with balancing(first.port, second.port) as balancer:
        first.wait_for(lambda: len(balancer.ready()) == 2)
        crowd = Crowd(base=balancer.base, key=key, upload_s=DRAIN_S + 2)
        with crowd.at_work(signed_in(balancer.base), CLERK):
            for _ in range(rounds):
                roll(house, balancer, first, second)
        check(house, crowd, key)


def test_a_third_node_joins_under_load_and_leaves(house: Nodes, key: str) -> None:
    first, second = both(house)
    with balancing(first.port, second.port) as balancer:
        first.wait_for(lambda: len(balancer.ready()) == 2)
        crowd = Crowd(base=balancer.base, key=key, upload_s=1)
        with crowd.at_work(signed_in(balancer.base), CLERK):
            third = house.join()
            third.start()
            balancer.add(third.port)
            first.wait_for(lambda: third.port in balancer.ready())
            size = tree_size(third)
            first.wait_for(lambda: tree_size(third) > size + 50)
            assert end(third) == 0
            balancer.remove(third.port)
        check(house, crowd, key)
    # And what it journalled at its end is whole for the others.
    assert "0 entries are not in them yet" in first.cli("journal").stdout


def test_a_node_that_ends_says_so_at_once_and_answers_on(house: Nodes, key: str) -> None:
    first, second = both(house)
    client = Client(second.base, key)
    upload: list[requests.Response] = []
    slow = threading.Thread(
        target=lambda: upload.append(
            Client(second.base, key).post(
                "/v1/deposits", data=Slow(os.urandom(2 << 20), DRAIN_S + 3)
            )
        )
    )
    slow.start()
    time.sleep(0.5)
    assert second.process is not None
    second.process.send_signal(signal.SIGTERM)
    (told,) = first.wait_for(lambda: _not_ready(client))
    assert told.json() == {"status": "leaving", "checks": {"node": "leaving"}}
    assert told.headers["Connection"] == "close"
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/deposits", data=b"taken while leaving").status_code == 201
    slow.join()
    assert upload[0].status_code == 201
    assert second.process.wait(60) == 0
    assert requests.get(f"{first.base}/readyz", timeout=10).status_code == 200
    second.start()


def _not_ready(client: Client) -> tuple[requests.Response, ...]:
    """The answer, once it is 503."""
    answer: requests.Response = client.get("/readyz")
    return (answer,) if answer.status_code == 503 else ()


def test_a_second_signal_ends_the_waiting(house: Nodes, key: str) -> None:
    first, second = both(house)
    lost: list[requests.RequestException] = []

    def upload() -> None:
        try:
            Client(second.base, key).post("/v1/deposits", data=Slow(os.urandom(2 << 20), 300))
        except requests.RequestException as exc:
            lost.append(exc)

    slow = threading.Thread(target=upload)
    slow.start()
    time.sleep(0.5)
    assert second.process is not None
    second.process.send_signal(signal.SIGINT)
    first.wait_for(lambda: _not_ready(Client(second.base)))
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(60) == 0
    slow.join(60)
    assert lost
    second.start()


def test_what_a_killed_nodes_worker_had_in_hand_another_does(house: Nodes, key: str) -> None:
    first, second = both(house)
    agency = Client(second.base, key)

    def is_stamped(deposit_id: str) -> bool:
        times = agency.get(f"/v1/deposits/{deposit_id}").json()["times"]
        return times["timestamped_at"] is not None

    for node in (first, second):
        made = agency.post("/v1/deposits", data=os.urandom(99)).json()["id"]
        node.wait_for(lambda made=made: is_stamped(made))
        # Whichever of the two has the job of stamping: it dies with it in hand.
        node.kill()
        other = second if node is first else first
        agency = Client(other.base, key)
        made = agency.post("/v1/deposits", data=os.urandom(99)).json()["id"]
        other.wait_for(lambda made=made: is_stamped(made))
        assert "0 entries are not in them yet" in other.cli("journal").stdout
        node.start()


def test_a_session_is_one_of_all_nodes(house: Nodes) -> None:
    first, second = both(house)
    person = signed_in(first.base, "administrator")
    person.base = second.base
    assert person.get("/accounts").status_code == 200
    made = person.submit("/accounts", name="made on the other", role="auditor")
    assert made.status_code == 201, made.text  # the form's token, too
    assert person.submit("/sign-out").ok
    for node in (first, second):
        person.base = node.base
        assert person.get("/accounts", allow_redirects=False).status_code == 303


def test_nodes_count_who_asks_too_often_together(house: Nodes) -> None:
    clients = [Client(node.base) for node in both(house)]
    statuses = [
        clients[number % 2].post("/v1/verify", data=b"{}").status_code for number in range(12)
    ]
    assert 429 not in statuses[:5]
    assert set(statuses[5:]) == {429}
