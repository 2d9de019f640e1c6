"""POST /v1/batches: many digests in one call, each row for itself, in order, or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from notary.tlog.merkle import check_inclusion, leaf_hash
from tests.harness.people import Staff
from tests.harness.receipts import check_receipt, log_keys, open_checkpoint
from tests.harness.server import Client, Service
from tests.harness.wire import wire

NDJSON = "application/x-ndjson"
MANY = 100_000
LARGE = 300_000
GROWTH_MIB = 64


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def row(text: str, **further: Any) -> dict[str, Any]:
    return {"size": len(text), "digests": {"sha-256": sha256(text)}, **further}


def lines(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    status: int
    rows: list[dict[str, Any]]
    last: dict[str, Any]
    location: str


def read(answer: Any) -> Answered:
    assert answer.status_code in (200, 201), answer.text
    assert answer.headers["Content-Type"] == NDJSON
    *rows, last = (json.loads(line) for line in answer.content.splitlines())
    assert [each["row"] for each in rows] == list(range(1, last["rows"] + 1))
    assert last["registered"] == sum("problem" not in r and "duplicate" not in r for r in rows)
    assert last["duplicates"] == sum("duplicate" in each for each in rows)
    assert last["refused"] == sum("problem" in each for each in rows)
    location = answer.headers["Location"]
    assert location == f"/v1/batches/{last['batch']}"
    return Answered(status=answer.status_code, rows=rows, last=last, location=location)


def post(client: Client, body: Any, path: str = "/v1/batches", **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, headers={"Content-Type": NDJSON, **given}, timeout=280)


def send(client: Client, *rows: Any, path: str = "/v1/batches", **headers: str) -> Answered:
    return read(post(client, lines(rows), path, **headers))


def refused(answer: Any, status: int, code: str) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    said = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    detail: str = said["detail"]
    return detail


def registered(client: Client, text: str) -> list[dict[str, Any]]:
    found = client.get("/v1/deposits", params={"sha256": sha256(text)}).json()["items"]
    assert isinstance(found, list)
    return found


def new_case(client: Client) -> str:
    body = {"court": "District Court", "number": f"B-{uuid.uuid4()}", "title": "A v. B"}
    assert client.post("/v1/cases", json=body).status_code == 201
    return body["number"]


@contextmanager
def watched_memory(service: Service) -> Iterator[Callable[[], float]]:
    """Gives a function that tells by how many MiB the largest of the service's processes grew."""
    assert service.process is not None
    processes = [psutil.Process(pid) for pid in service.family()]
    before = {each.pid: each.memory_info().rss for each in processes}
    growth, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            growth.extend(each.memory_info().rss - before[each.pid] for each in processes)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(growth) / (1 << 20)
    finally:
        ended.set()
        thread.join()


# --- order ---------------------------------------------------------------------------------------


@pytest.mark.slow  # it measures memory, so no other test may use the service or the cores
def test_three_bad_rows_of_a_hundred_thousand_stop_none_of_the_others(
    service: Service, agency: Client, staff: Staff
) -> None:
    """… whose indices are contiguous and in the order sent, while single deposits come in."""
    mark = str(uuid.uuid4())
    rows: list[Any] = [row(f"{mark}{number}") for number in range(1, MANY + 1)]
    rows[6] = {"size": 1, "digests": {"sha-256": "7" * 63}}
    rows[49_999] = "no object"
    rows[MANY - 1] = row("x", case="no such case")
    bad = {7: "digests_malformed", 50_000: "json_malformed", MANY: "case_not_found"}
    ended, singles = threading.Event(), []

    def deposit_meanwhile() -> None:
        while not ended.is_set():
            given = agency.post("/v1/deposits", data=uuid.uuid4().bytes)
            assert given.status_code == 201
            singles.append(given.json())

    body = lines(rows)
    with watched_memory(service) as growth, ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(deposit_meanwhile)
        try:
            # A client of its own: a session is not for two threads.
            given = read(post(sender := staff.client(), body))
        finally:
            ended.set()
        meanwhile.result()
        grown = growth()
    assert (given.last["rows"], given.last["registered"], given.last["refused"]) == (
        MANY, MANY - 3, 3,
    )  # fmt: skip
    assert {r["row"]: r["problem"]["code"] for r in given.rows if "problem" in r} == bad
    indices = [each["index"] for each in given.rows if "index" in each]
    first = given.last["first_index"]
    assert indices == list(range(first, first + MANY - 3))
    assert len({each["id"] for each in given.rows if "id" in each}) == MANY - 3
    assert singles
    assert not {each["leaf_index"] for each in singles} & set(indices)
    assert grown <= GROWTH_MIB
    check_some(sender, given, mark)


def check_some(client: Client, given: Answered, mark: str) -> None:
    """Rows here and there are the deposits that were sent, under the last line's checkpoint."""
    keys = log_keys(client)
    checkpoint = open_checkpoint(given.last["checkpoint"], keys)
    assert checkpoint.size >= given.last["first_index"] + given.last["registered"]
    for number in (1, 2, 6, 8, 1_000, 1_001, 49_999, 50_001, MANY - 1):
        said = given.rows[number - 1]
        shown = client.get(f"/v1/deposits/{said['id']}").json()
        check_receipt(shown, keys)
        assert shown["digests"]["sha-256"] == sha256(f"{mark}{number}")
        assert shown["leaf_index"] == said["index"]
        asked = {"index": said["index"], "size": checkpoint.size}
        proof = client.get("/v1/log/proof/inclusion", params=asked).json()["path"]
        check_inclusion(
            index=said["index"],
            size=checkpoint.size,
            leaf=leaf_hash(b64decode(shown["statement"])),
            proof=tuple(map(b64decode, proof)),
            root=checkpoint.root,
        )


@pytest.mark.slow
def test_a_batch_of_hundreds_of_thousands_needs_no_more_memory(
    service: Service, staff: Staff
) -> None:
    mark = str(uuid.uuid4())

    def body() -> Iterator[bytes]:
        for start in range(0, LARGE, 1000):
            yield lines(row(f"{mark}{number}") for number in range(start, start + 1000))
        yield lines([{"end": LARGE}])

    client = staff.client()
    with watched_memory(service) as growth:
        given = read(post(client, body()))
        grown = growth()
    assert given.last["registered"] == LARGE
    print(f"grew by {grown:.1f} MiB over {LARGE} rows")
    assert grown <= GROWTH_MIB


def test_rows_may_say_all_that_a_digest_deposit_says(agency: Client) -> None:
    case, mark = new_case(agency), str(uuid.uuid4())
    earlier = send(agency, row(mark)).rows[0]["id"]
    full = row(
        mark,
        name="证据 1.pdf",
        media_type="application/pdf",
        case=case,
        exhibit="K 1",
        client_reference=mark,
        provenance={"source": "archive", "steps": ["scan"]},
        links={"derivative_of": earlier},
    )
    full["digests"]["sm3"] = "3" * 64
    (said,) = send(agency, full).rows
    assert said["client_reference"] == mark
    shown = agency.get(f"/v1/deposits/{said['id']}").json()
    check_receipt(shown, log_keys(agency))
    assert shown["stored"] is False
    assert shown["name"] == "证据 1.pdf"
    assert shown["digests"] == full["digests"]
    assert shown["sections"]["case"]["exhibit"] == shown["exhibit"] == "K 1"
    assert shown["sections"]["provenance"] == {"stated_by_depositor": full["provenance"]}
    assert shown["sections"]["links"] == full["links"]


def test_line_ends_and_blank_lines_are_no_rows(agency: Client) -> None:
    mark = str(uuid.uuid4())
    first, second = (json.dumps(row(mark + end)).encode() for end in "ab")
    given = read(post(agency, b"\n" + first + b"\r\n\r\n  \n" + second))
    assert (given.last["rows"], given.last["registered"]) == (2, 2)


def test_a_batch_of_no_rows_is_one(agency: Client) -> None:
    given = read(post(agency, b""))
    assert (given.last["rows"], given.last["first_index"]) == (0, None)


def test_one_row_too_long_is_one_bad_row_wherever_it_lies(agency: Client) -> None:
    """Also across the pieces in which the body is read."""
    for before in (0, 15):
        long = [row(str(uuid.uuid4()), name="n" * 70_000) for _ in range(before + 1)]
        huge = row(str(uuid.uuid4()), name="n" * 3_000_000)
        given = send(agency, row("first"), *long, huge, row("last"))
        assert given.last["refused"] == before + 2
        assert {r["problem"]["code"] for r in given.rows if "problem" in r} == {"batch_malformed"}
        assert "index" in given.rows[0]
        assert "index" in given.rows[-1]


# --- all or nothing ------------------------------------------------------------------------------


def test_atomic_means_all_rows_or_none(agency: Client) -> None:
    mark = str(uuid.uuid4())
    good = [row(f"{mark}{number}") for number in range(2_500)]
    bad = [*good[:2_000], {"size": -1}, *good[2_000:]]
    detail = refused(post(agency, lines(bad), "/v1/batches?atomic=1"), 409, "batch_refused")
    assert "row 2001" in detail
    assert "digests_malformed" in detail
    assert not registered(agency, f"{mark}0")
    given = send(agency, *good, path="/v1/batches?atomic=1")
    assert given.last["registered"] == 2_500
    assert len(registered(agency, f"{mark}0")) == 1


def test_an_atomic_batch_is_refused_for_what_shows_only_while_it_is_entered(
    agency: Client,
) -> None:
    case, mark = new_case(agency), str(uuid.uuid4())
    rows = [row(f"{mark}1", case=case, exhibit="A"), row(f"{mark}2", case=case, exhibit="A")]
    detail = refused(post(agency, lines(rows), "/v1/batches?atomic=1"), 409, "batch_refused")
    assert "exhibit_taken" in detail
    assert not registered(agency, f"{mark}1")


@pytest.mark.parametrize("value", ["true", "2", "yes"])
def test_atomic_is_never_taken_for_off_where_it_is_misspelt(agency: Client, value: str) -> None:
    refused(post(agency, b"", f"/v1/batches?atomic={value}"), 400, "value_malformed")


# --- again ---------------------------------------------------------------------------------------


def test_a_client_reference_makes_one_deposit_inside_and_across_batches(agency: Client) -> None:
    mark = str(uuid.uuid4())
    first = send(agency, row("a", client_reference=mark), row("a", client_reference=mark))
    assert (first.last["registered"], first.last["duplicates"]) == (1, 1)
    second = send(agency, row("a", client_reference=mark), row("b", client_reference=mark))
    assert (second.last["registered"], second.last["duplicates"]) == (0, 1)
    assert {each["id"] for each in [*first.rows, *second.rows] if "id" in each} == {
        first.rows[0]["id"]
    }
    assert second.rows[0]["index"] == first.rows[0]["index"]
    assert second.rows[1]["problem"]["code"] == "client_reference_reused"
    far = [row(f"{mark}{number}") for number in range(2_000)]
    third = send(
        agency, row("c", client_reference=f"{mark}c"), *far, row("c", client_reference=f"{mark}c")
    )
    assert third.last["duplicates"] == 1
    assert third.rows[-1]["id"] == third.rows[0]["id"]


def test_a_client_reference_is_shared_with_single_deposits(agency: Client) -> None:
    mark = str(uuid.uuid4())
    single = agency.post(f"/v1/deposits?client_reference={mark}", data=b"a").json()
    given = send(agency, row("a", client_reference=mark))
    assert given.rows[0]["id"] == single["id"]
    assert given.rows[0]["duplicate"] is True


def test_the_same_batch_with_the_same_key_is_the_same_batch(agency: Client) -> None:
    key = str(uuid.uuid4())
    body = lines([*(row(f"{key}{number}") for number in range(1_500)), "bad"])
    with ThreadPoolExecutor(6) as pool:
        asked = list(pool.map(lambda _: read(post(agency, body, idempotency_key=key)), range(6)))
    assert sorted(each.status for each in asked) == [200] * 5 + [201]
    assert len({each.last["batch"] for each in asked}) == 1
    assert all(each.rows == asked[0].rows for each in asked)
    assert len(registered(agency, f"{key}0")) == 1
    shown = read(agency.get(asked[0].location))
    assert shown.rows == asked[0].rows


def test_a_key_used_for_something_else_is_refused(agency: Client) -> None:
    key = str(uuid.uuid4())
    body = lines([row(key)])
    read(post(agency, body, idempotency_key=key))
    other = lines([row(f"{key} other")])
    refused(post(agency, other, idempotency_key=key), 422, "idempotency_key_reused")
    atomic = post(agency, body, "/v1/batches?atomic=1", idempotency_key=key)
    refused(atomic, 422, "idempotency_key_reused")
    single = agency.post("/v1/deposits", data=b"x", headers={"Idempotency-Key": key})
    refused(single, 422, "idempotency_key_reused")
    assert not registered(agency, f"{key} other")
    single_key = str(uuid.uuid4())
    headers = {"Idempotency-Key": single_key}
    assert agency.post("/v1/deposits", data=b"x", headers=headers).status_code == 201
    refused(post(agency, body, idempotency_key=single_key), 422, "idempotency_key_reused")


def test_a_batch_is_for_its_own_account_to_see(staff: Staff, agency: Client) -> None:
    location = send(agency, row("mine")).location
    other = staff.client()
    unknown = location[:-1] + ("0" if location[-1] != "0" else "1")
    assert refused(other.get(location), 404, "not_found") == refused(
        other.get(unknown), 404, "not_found"
    )


# --- exhibits ------------------------------------------------------------------------------------


def test_exhibits_number_themselves_past_those_that_are_taken(agency: Client) -> None:
    case = new_case(agency)
    agency.post(f"/v1/deposits?case={case}&exhibit=2", data=b"x")
    given = send(
        agency,
        row("a", case=case),
        row("b", case=case, exhibit="A"),
        row("c", case=case, exhibit="A"),
        row("d", case=case, exhibit="2"),
        row("e", case=case),
    )
    codes = [each.get("problem", {}).get("code") for each in given.rows]
    assert codes == [None, None, "exhibit_taken", "exhibit_taken", None]
    listed = agency.get("/v1/deposits", params={"case": case}).json()["items"]
    exhibits = [each["exhibit"] for each in listed]
    assert len(set(exhibits)) == len(exhibits) == 4
    assert "A" in exhibits


def test_a_number_chosen_in_one_row_and_given_to_a_later_one_refuses_that_row_alone(
    agency: Client,
) -> None:
    """The later row lies in another piece of the batch; its number was given before the first
    was entered."""
    case, mark = new_case(agency), str(uuid.uuid4())
    middle = [row(f"{mark}{number}") for number in range(1_500)]
    given = send(agency, row("a", case=case, exhibit="1"), *middle, row("b", case=case))
    assert given.last["registered"] >= 1_501
    assert [each["problem"]["code"] for each in given.rows if "problem" in each] in (
        [],
        ["exhibit_taken"],
    )


# --- bodies that do not end as they should --------------------------------------------------------


def test_a_batch_cut_short_registers_nothing(agency: Client) -> None:
    for ending in ({"Content-Length": 1_000_000}, {"Transfer-Encoding": "chunked"}):
        mark = str(uuid.uuid4())
        body = lines(row(f"{mark}{number}") for number in range(3_000))
        with wire(agency, "POST", "/v1/batches", {"Content-Type": NDJSON, **ending}) as line:
            (line.send_chunk if "Transfer-Encoding" in ending else line.send)(body)
            line.finish()
            answer = line.answer()
        assert answer.status in (0, 400, 411)
        assert not registered(agency, f"{mark}0")


def test_a_chunked_batch_needs_a_digest_or_a_closing_line(agency: Client) -> None:
    mark = str(uuid.uuid4())
    body = lines([row(f"{mark}1"), row(f"{mark}2")])
    refused(post(agency, iter([body])), 411, "length_required")
    assert not registered(agency, f"{mark}1")
    closed = read(post(agency, iter([body, lines([{"end": 2}])])))
    assert closed.last["registered"] == 2
    field = f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"
    assert read(post(agency, iter([body]), repr_digest=field)).last["registered"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (lines([row("a"), {"end": 2}]), 400, "body_incomplete"),
        (lines([row("a"), {"end": 0}]), 400, "body_incomplete"),
        (lines([row("a"), {"end": 1}, row("b")]), 400, "batch_malformed"),
    ],
)
def test_a_closing_line_that_is_wrong_refuses_the_batch(
    agency: Client, body: bytes, status: int, code: str
) -> None:
    refused(post(agency, body), status, code)


@pytest.mark.parametrize("end", [True, "1", 1.0, None, -1])
def test_what_only_looks_like_a_closing_line_is_a_row(agency: Client, end: Any) -> None:
    answer = post(agency, lines([row("a"), {"end": end}]))
    if end == -1:
        refused(answer, 400, "body_incomplete")
    else:
        assert read(answer).last["refused"] == 1


@pytest.mark.parametrize("name", ["sha256", "sha512"])
@pytest.mark.parametrize("field", ["repr_digest", "content_digest"])
def test_a_batch_that_has_not_its_digest_registers_nothing(
    agency: Client, field: str, name: str
) -> None:
    mark = str(uuid.uuid4())
    digest = b64encode(hashlib.new(name, b"other").digest()).decode()
    given = post(agency, lines([row(mark)]), **{field: f"{name[:3]}-{name[3:]}=:{digest}:"})
    refused(given, 400, "digest_mismatch")
    assert not registered(agency, mark)


def test_another_kind_of_body_is_refused(agency: Client) -> None:
    refused(
        post(agency, lines([row("a")]), content_type="application/json"),
        415,
        "unsupported_media_type",
    )


def test_a_batch_over_the_limit_registers_nothing(new_service: Callable[..., Service]) -> None:
    service = new_service(max_batch_rows="1200")
    client = Client(service.base, service.key("agency"))
    assert client.get("/v1/limits").json()["batch_rows"] == 1200
    rows = [row(f"limit {number}") for number in range(1_201)]
    refused(post(client, lines(rows)), 413, "batch_too_long")
    assert not registered(client, "limit 0")
    assert send(client, *rows[1:]).last["registered"] == 1_200
