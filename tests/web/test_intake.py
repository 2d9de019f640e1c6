"""POST /v1/deposits in each form: a correct deposit, or a clear problem and nothing kept."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import unicodedata
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from notary.tlog.note import VerifierKey
from tests.harness.people import Staff
from tests.harness.receipts import check_receipt, log_keys
from tests.harness.server import Client, Service
from tests.harness.wire import Wire, wire

OCTETS = "application/octet-stream"
NAMES = {
    "plain": "exhibit.pdf",
    "255 bytes": "b" * 251 + ".pdf",
    "emoji": "📎🧾 facture — 🇨🇭.pdf",
    "right to left": "עדות‮fdp.exe",
    "decomposed": unicodedata.normalize("NFD", "Übergröße.txt"),
    "composed": unicodedata.normalize("NFC", "Übergröße.txt"),
    "path": "../../etc/passwd",
    "windows path": "C:\\Users\\me\\a.txt",
    "quotes and percent": 'say "cheese" 100%.txt',
    "blanks around": "  spaced  .txt ",
    "semicolons": "a; filename=b.txt",
}


@pytest.fixture(scope="module")
def keys(agency: Client) -> tuple[VerifierKey, ...]:
    return log_keys(agency)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A house with narrow limits, that computes every digest."""
    service = Service(
        home=tmp_path_factory.mktemp("small"),
        settings={
            "digests": "sm3,sha-512",
            "max_file_bytes": "100000",
            "max_account_bytes": "250000",
        },
    )
    service.init()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def small_staff(small: Service) -> Iterator[Staff]:
    with Staff(small) as opened:
        yield opened


def some_bytes(count: int = 1000) -> bytes:
    return random.randbytes(count)  # never the same twice: each deposit is its own


def hashed(name: str, data: bytes) -> str:
    return hashlib.new(name, data).hexdigest()


def digest_field(data: bytes, name: str = "sha-256") -> str:
    raw = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{b64encode(raw).decode()}:"


def kept(service: Service) -> set[str]:
    """Every original in the object store, and every file that is not finished."""
    found = (service.home / "objects").rglob("*")
    return {path.name for path in found if path.is_file() and "journal" not in path.parts}


def post(client: Client, data: Any, path: str = "/v1/deposits", **headers: str) -> Any:
    """`headers` in Python's spelling: content_type="text/plain"."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=data, headers={"Content-Type": OCTETS, **given})


def form(file: bytes, fields: Mapping[str, str] | None = None, name: str = "a.txt") -> Any:
    """(headers, body) of a form as browsers write it: quotes in names as %22, the rest as it is."""
    boundary = uuid.uuid4().hex
    body = b""
    for field, value in (fields or {}).items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode()
        body += value.encode() + b"\r\n"
    quoted = name.replace("\\", "\\\\").replace('"', "%22")
    body += (
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="file"; filename="{quoted}"\r\nContent-Type: text/plain\r\n\r\n'
    ).encode()
    body += file + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def post_form(client: Client, file: bytes, path: str = "/v1/deposits", **otherwise: Any) -> Any:
    headers, body = form(file, **otherwise)
    return client.post(path, data=body, headers=headers)


def problem(response: Any, status: int, code: str) -> str:
    """The detail of the problem that must have been answered."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    said = response.json()
    assert (response.status_code, said["code"]) == (status, code), said
    assert said["status"] == status
    assert said["title"]
    detail: str = said["detail"]
    return detail


def registered(response: Any) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    given: dict[str, Any] = response.json()
    assert response.headers["Location"] == f"/v1/deposits/{given['id']}"
    return given


def new_case(client: Client) -> dict[str, Any]:
    body = {"court": "District Court", "number": f"C-{uuid.uuid4()}", "title": "A v. B"}
    answer = client.post("/v1/cases", json=body)
    assert answer.status_code == 201, answer.text
    opened: dict[str, Any] = answer.json()
    return opened


# --- the forms ---------------------------------------------------------------------------------


def test_a_raw_body_is_registered_and_its_receipt_holds(
    agency: Client, keys: tuple[VerifierKey, ...]
) -> None:
    data = b"%PDF-1.7 " + some_bytes(3_000_000)
    given = registered(
        post(
            agency,
            data,
            content_type="application/pdf",
            content_disposition='attachment; filename="exhibit.pdf"',
        )
    )
    check_receipt(given, keys)
    assert given["digests"] == {"sha-256": hashed("sha256", data), "sm3": hashed("sm3", data)}
    assert (given["size"], given["name"], given["stored"]) == (len(data), "exhibit.pdf", True)
    assert given["media_type"] == {"declared": "application/pdf", "detected": "application/pdf"}
    assert given["times"]["received_at"] <= given["times"]["registered_at"]
    assert agency.get(given["links"]["content"]).content == data


def test_a_form_is_registered_with_its_fields(
    agency: Client, keys: tuple[VerifierKey, ...]
) -> None:
    case, data = new_case(agency), some_bytes(3_000_000)
    fields = {"case": case["number"], "exhibit": "K 1", "client_reference": str(uuid.uuid4())}
    given = registered(post_form(agency, data, fields=fields))
    check_receipt(given, keys)
    assert given["digests"]["sha-256"] == hashed("sha256", data)
    assert (given["case"], given["exhibit"]) == (case["id"], "K 1")
    assert given["sections"]["case"] == {
        "court": case["court"],
        "number": case["number"],
        "title": case["title"],
        "exhibit": "K 1",
    }
    assert given["client_reference"] == fields["client_reference"]
    assert agency.get(given["links"]["content"]).content == data


def test_fields_behind_the_file_count_as_those_before_it(agency: Client) -> None:
    case, data = new_case(agency), some_bytes()
    headers, body = form(data)
    boundary = headers["Content-Type"].rpartition("=")[2]
    end = f"\r\n--{boundary}--\r\n".encode()
    behind = (
        f"\r\n--{boundary}\r\nContent-Disposition: form-data; "
        f'name="case"\r\n\r\n{case["number"]}{end.decode()}'
    )
    body = body.removesuffix(end) + behind.encode()
    given = registered(agency.post("/v1/deposits", data=body, headers=headers))
    assert given["case"] == case["id"]


@pytest.mark.parametrize("inside", [b"", b"\r\n", b"\r", b"\n--", b"\r\n--x", b"\r\n\r\n--", b"--"])
def test_a_form_gives_back_the_very_bytes_of_its_file(agency: Client, inside: bytes) -> None:
    data = inside + some_bytes(70_000) + inside
    given = registered(post_form(agency, data))
    assert given["digests"]["sha-256"] == hashed("sha256", data)


def test_digests_alone_are_registered_and_said_to_be_digests_alone(
    agency: Client, keys: tuple[VerifierKey, ...]
) -> None:
    data = some_bytes()
    body = {
        "size": len(data),
        "digests": {"sha-256": hashed("sha256", data), "sha-512": hashed("sha512", data)},
        "name": "kept at home.bin",
        "media_type": "application/x-image",
    }
    given = registered(agency.post("/v1/deposits", json=body))
    check_receipt(given, keys)
    assert given["stored"] is False
    assert given["digests"] == body["digests"]
    problem(agency.get(given["links"]["content"]), 409, "original_not_stored")


def test_a_json_file_with_a_name_is_evidence_and_not_a_request(agency: Client) -> None:
    data = b'{"size": 1}'
    named = 'attachment; filename="data.json"'
    given = registered(
        post(agency, data, content_type="application/json", content_disposition=named)
    )
    assert (given["stored"], given["size"]) == (True, len(data))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"size": 3}, "digests_malformed"),
        ({"digests": {}}, "digests_malformed"),
        ({"size": 3, "digests": {}}, "digests_malformed"),
        ({"size": -1, "digests": {"sha-256": "0" * 64}}, "digests_malformed"),
        ({"size": True, "digests": {"sha-256": "0" * 64}}, "digests_malformed"),
        ({"size": 3, "digests": {"sha-256": "A" * 64}}, "digests_malformed"),
        ({"size": 3, "digests": {"sha-256": "0" * 63}}, "digests_malformed"),
        ({"size": 3, "digests": {"sha-256": "0" * 64, "md5": "0" * 32}}, "digests_malformed"),
        ({"size": 0, "digests": {"sha-256": "0" * 64}}, "digests_malformed"),
        ({"size": 3, "digests": {"sha-256": hashed("sha256", b"")}}, "digests_malformed"),
        ({"size": 3, "digests": {"sha-256": "0" * 64}, "sise": 3}, "json_malformed"),
        ({"size": 3, "digests": {"sha-256": "0" * 64}, "name": 7}, "value_malformed"),
        ({"size": 3, "digests": {"sha-256": "0" * 64}, "links": {"next": "x"}}, "links_malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_digests_that_cannot_be_are_refused(
    agency: Client, body: dict[str, Any], code: str
) -> None:
    problem(agency.post("/v1/deposits", json=body), 400, code)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"size": NaN}', b"[" * 60_000])
def test_a_body_that_is_no_json_object_is_refused(agency: Client, raw: bytes) -> None:
    problem(post(agency, raw, content_type="application/json"), 400, "json_malformed")


def test_a_content_coding_is_refused(agency: Client) -> None:
    problem(post(agency, b"x", content_encoding="gzip"), 415, "content_encoding_refused")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            lambda body: body.replace(b'name="file"; filename="a.txt"', b'name="x"'),
            "form_malformed",
        ),
        (lambda body: body.replace(b"Content-Disposition", b"Content-Dispo"), "form_malformed"),
        (lambda body: body[:-30], "form_malformed"),
        (lambda body: body[:60], "form_malformed"),
        (lambda body: b"", "form_malformed"),
        (lambda body: b"x" * 3_000_000 + body, "form_malformed"),
        (lambda body: body + b"x" * 3_000_000, "form_malformed"),
        (lambda body: body.replace(b"a.txt", b"\xff.txt"), "form_malformed"),
        (lambda body: body.replace(b"a.txt", b"a\x01.txt"), "name_malformed"),
    ],
)
def test_a_form_that_is_none_is_refused_and_nothing_kept(
    service: Service, agency: Client, change: Any, code: str
) -> None:
    before = kept(service)
    headers, body = form(some_bytes(100_000))
    problem(agency.post("/v1/deposits", data=change(body), headers=headers), 400, code)
    assert kept(service) == before


@pytest.mark.parametrize("field", ["case", "exhibit", "x", "provenance", "previous", "timestamp"])
def test_a_field_that_says_nonsense_is_refused(
    service: Service, agency: Client, field: str
) -> None:
    before = kept(service)
    answer = post_form(agency, some_bytes(), fields={field: "\x01 nonsense"})
    assert answer.status_code == 400
    assert answer.json()["code"] in {
        "label_malformed", "provenance_malformed", "links_malformed", "value_malformed",
        "form_malformed",
    }  # fmt: skip
    assert kept(service) == before


def test_two_files_in_one_form_are_refused_and_neither_is_kept(
    service: Service, agency: Client
) -> None:
    before = kept(service)
    files = [("file", ("a.txt", b"one")), ("file", ("b.txt", b"two"))]
    problem(agency.post("/v1/deposits", files=files), 400, "form_malformed")
    assert kept(service) == before


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_kept_exactly_from_each_form(service: Service, agency: Client, name: str) -> None:
    extended = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    by_header = registered(post(agency, some_bytes(), content_disposition=extended))
    by_form = registered(post_form(agency, some_bytes(), name=name))
    body = {"size": 1, "digests": {"sha-256": "0" * 64}, "name": name}
    by_json = registered(agency.post("/v1/deposits", json=body))
    for given in (by_header, by_form, by_json):
        assert given["name"] == name
        assert given["sections"]["content"]["name"] == name
        assert agency.get(f"/v1/deposits/{given['id']}").json()["name"] == name
    content = agency.get(by_header["links"]["content"])
    assert content.status_code == 200
    assert not list(service.home.rglob("passwd"))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_in_raw_bytes_of_a_header_is_refused_rather_than_lost(
    service: Service, agency: Client, encoding: str
) -> None:
    """The application server hands on no header that is not ASCII; RFC 8187 is for that."""
    before = kept(service)
    head: dict[str, str | bytes | int] = {
        "Content-Type": OCTETS,
        "Content-Length": 1,
        "Content-Disposition": 'attachment; filename="é.txt"'.encode(encoding),
    }
    with wire(agency, "POST", "/v1/deposits", head) as line:
        line.send(b"x")
        answer = line.answer()
    said = json.loads(answer.body)
    assert (answer.status, said["code"]) == (400, "name_malformed")
    assert "RFC 8187" in said["detail"]
    assert kept(service) == before


@pytest.mark.parametrize(
    "header",
    [
        "attachment; filename=\"plain.txt\"; filename*=UTF-8''%E2%82%AC.txt",
        "attachment; filename*=UTF-8''%E2%82%AC.txt; filename=\"plain.txt\"",
        "attachment; filename*=utf-8'en'%e2%82%ac.txt; filename=plain.txt",
    ],
)
def test_the_extended_file_name_wins_wherever_it_stands(agency: Client, header: str) -> None:
    given = registered(post(agency, some_bytes(), content_disposition=header))
    assert given["name"] == "€.txt"


@pytest.mark.parametrize("header", ["attachment", "inline; filename=", 'attachment; filename=""'])
def test_a_raw_body_needs_no_name(agency: Client, header: str) -> None:
    assert registered(post(agency, some_bytes(), content_disposition=header))["name"] is None


@pytest.mark.parametrize("name", ["%00.txt", "a%0Ab.txt", "%7F", "a" * 1025])
def test_a_name_that_cannot_be_kept_is_refused(agency: Client, name: str) -> None:
    header = f"attachment; filename*=UTF-8''{name}"
    problem(post(agency, some_bytes(), content_disposition=header), 400, "name_malformed")


# --- empty files -------------------------------------------------------------------------------


def test_an_empty_file_is_refused_unless_it_is_meant(service: Service, agency: Client) -> None:
    before = kept(service)
    problem(post(agency, b""), 400, "empty_file")
    problem(post_form(agency, b""), 400, "empty_file")
    assert kept(service) == before
    for given in (
        registered(post(agency, b"", "/v1/deposits?allow_empty=1")),
        registered(post_form(agency, b"", "/v1/deposits?allow_empty=1")),
        registered(post_form(agency, b"", fields={"allow_empty": "1"})),
    ):
        assert given["digests"]["sha-256"] == hashed("sha256", b"")
        content = agency.get(given["links"]["content"])
        assert (content.status_code, content.content) == (200, b"")


# --- bodies that do not end as they should ------------------------------------------------------


def cut(service: Service, client: Client, headers: Mapping[str, str | int], send: Any) -> None:
    """A client that goes away after `send`: no deposit comes of it and no byte stays."""
    before, rows = kept(service), count_deposits(service)
    with wire(client, "POST", "/v1/deposits", {"Content-Type": OCTETS, **headers}) as line:
        send(line)
        service.wait_for(lambda: kept(service) != before)
    service.wait_for(lambda: kept(service) == before)
    assert count_deposits(service) == rows


def count_deposits(service: Service) -> int:
    with sqlite3.connect(service.home / "notary.db") as rows:
        (count,) = rows.execute("SELECT count(*) FROM deposit").fetchone()
    return int(count)


def test_a_client_that_stops_half_way_leaves_nothing(service: Service, agency: Client) -> None:
    half = some_bytes(2_000_000)
    cut(service, agency, {"Content-Length": 4_000_000}, lambda line: line.send(half))


def test_a_client_that_stops_inside_a_chunked_body_leaves_nothing(
    service: Service, agency: Client
) -> None:
    half = some_bytes(2_000_000)
    declared = {"Transfer-Encoding": "chunked", "Repr-Digest": digest_field(half + b"more")}
    cut(service, agency, declared, lambda line: line.send_chunk(half))


def test_a_client_that_stops_inside_a_form_leaves_nothing(service: Service, agency: Client) -> None:
    headers, body = form(some_bytes(2_000_000))
    for length in ({"Content-Length": len(body)}, {"Transfer-Encoding": "chunked"}):
        chunked = "Transfer-Encoding" in length

        def send(line: Wire, chunked: bool = chunked) -> None:
            (line.send_chunk if chunked else line.send)(body[:1_500_000])

        cut(service, agency, {**headers, **length}, send)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_shorter_than_declared_is_no_deposit(
    service: Service, agency: Client, chunked: bool
) -> None:
    """The client says that it has ended, and waits for an answer."""
    before, rows, data = kept(service), count_deposits(service), some_bytes(500_000)
    head: dict[str, str | bytes | int] = {"Content-Type": OCTETS, "Content-Length": 600_000}
    if chunked:
        del head["Content-Length"]
        head |= {"Transfer-Encoding": "chunked", "Repr-Digest": digest_field(data)}
    with wire(agency, "POST", "/v1/deposits", head) as line:
        (line.send_chunk if chunked else line.send)(data)
        line.finish()
        answer = line.answer()
    if chunked:  # the last chunk is missing, and the digest shows that no byte of it was
        assert answer.status in (0, 201)
    else:
        assert answer.status in (0, 400)
        service.wait_for(lambda: kept(service) == before)
        assert count_deposits(service) == rows


def test_what_follows_a_body_is_not_part_of_it(service: Service, agency: Client) -> None:
    data = some_bytes()
    head: dict[str, str | bytes | int] = {"Content-Type": OCTETS, "Content-Length": len(data)}
    with wire(agency, "POST", "/v1/deposits", head) as line:
        line.send(data + b"and more")
        answer = line.answer()
    assert answer.status == 201
    assert json.loads(answer.body)["digests"]["sha-256"] == hashed("sha256", data)


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "99999999999999999999999"])
def test_a_content_length_that_is_none_is_refused(agency: Client, length: str) -> None:
    head: dict[str, str | bytes | int] = {"Content-Type": OCTETS, "Content-Length": length}
    with wire(agency, "POST", "/v1/deposits", head) as line:
        answer = line.answer()
    assert answer.status in (0, 400, 413)


def test_a_chunked_body_alone_is_refused_because_its_end_cannot_be_told(
    service: Service, agency: Client
) -> None:
    before = kept(service)
    problem(post(agency, iter([b"one", b"two"])), 411, "length_required")
    assert kept(service) == before


@pytest.mark.parametrize("field", ["repr_digest", "content_digest"])
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_chunked_body_with_its_digest_is_registered(
    agency: Client, field: str, algorithm: str
) -> None:
    data = some_bytes(3_000_000)
    parts = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    given = registered(post(agency, parts, **{field: digest_field(data, algorithm)}))
    assert given["digests"] == {"sha-256": hashed("sha256", data), "sm3": hashed("sm3", data)}


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_chunked_body_that_is_not_all_of_its_digest_is_refused(
    service: Service, agency: Client, algorithm: str
) -> None:
    before, data = kept(service), some_bytes()
    answer = post(agency, iter([data[:500]]), repr_digest=digest_field(data, algorithm))
    problem(answer, 400, "digest_mismatch")
    assert kept(service) == before


def test_a_digest_by_an_algorithm_unknown_here_does_not_show_where_a_chunked_body_ends(
    agency: Client,
) -> None:
    answer = post(agency, iter([b"x"]), repr_digest="md5=:rL0Y20zC+Fzt72VPzMSk2A==:")
    problem(answer, 411, "length_required")


def test_a_chunked_form_is_registered_because_its_end_can_be_told(agency: Client) -> None:
    data = some_bytes(2_000_000)
    headers, body = form(data)
    parts = (body[at : at + 70_001] for at in range(0, len(body), 70_001))
    given = registered(agency.post("/v1/deposits", data=parts, headers=headers))
    assert given["digests"]["sha-256"] == hashed("sha256", data)


# --- declared digests ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["repr_digest", "content_digest"])
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_digest_that_differs_is_refused_with_both_values_and_nothing_kept(
    service: Service, agency: Client, field: str, algorithm: str
) -> None:
    before, rows, data = kept(service), count_deposits(service), some_bytes()
    answer = post(agency, data, **{field: digest_field(b"other", algorithm)})
    detail = problem(answer, 400, "digest_mismatch")
    name = algorithm.replace("-", "")
    assert hashed(name, data) in detail
    assert hashed(name, b"other") in detail
    assert kept(service) == before
    assert count_deposits(service) == rows


def test_two_digest_fields_must_agree(agency: Client) -> None:
    data = some_bytes()
    good, bad = digest_field(data), digest_field(b"other")
    for repr_digest, content_digest in ((good, bad), (bad, good)):
        answer = post(agency, data, repr_digest=repr_digest, content_digest=content_digest)
        problem(answer, 400, "digest_mismatch")
    registered(post(agency, data, repr_digest=good, content_digest=digest_field(data, "sha-512")))


def test_digest_fields_cover_a_form_or_a_json_as_it_was_sent(
    service: Service, agency: Client
) -> None:
    before = kept(service)
    data = json.dumps({"size": 1, "digests": {"sha-256": "0" * 64}}).encode()
    headers, body = form(some_bytes())
    for sent, head in ((data, {"Content-Type": "application/json"}), (body, headers)):
        wrong = {**head, "Content-Digest": digest_field(b"other")}
        answer = agency.post("/v1/deposits", data=sent, headers=wrong)
        problem(answer, 400, "digest_mismatch")
    assert kept(service) == before
    for sent, head in ((data, {"Content-Type": "application/json"}), (body, headers)):
        right = {**head, "Content-Digest": digest_field(sent)}
        registered(agency.post("/v1/deposits", data=sent, headers=right))


@pytest.mark.parametrize("field", ["sha-256=abc", "sha-256=:abc:", "sha-256=:AAAA:", "", ":", "%"])
def test_a_digest_field_that_cannot_be_read_is_refused(agency: Client, field: str) -> None:
    problem(post(agency, b"x", repr_digest=field), 400, "digest_field_malformed")


def test_digests_are_computed_as_configured(small_staff: Staff) -> None:
    client, data = small_staff.client(), some_bytes()
    given = registered(post(client, data))
    assert given["digests"] == {
        "sha-256": hashed("sha256", data),
        "sm3": hashed("sm3", data),
        "sha-512": hashed("sha512", data),
    }
    assert client.get("/v1/limits").json()["digests"] == ["sha-256", "sm3", "sha-512"]


# --- provenance and links -----------------------------------------------------------------------

PROVENANCE = {
    "source": "https://shop.example/item/7",
    "tool": "wget",
    "tool_version": "1.24",
    "captured_at": "2026-11-24T09:00:00+08:00",
    "steps": ["open the page", "save it"],
}


def test_provenance_is_kept_as_stated_by_the_depositor(agency: Client) -> None:
    by_form = post_form(agency, some_bytes(), fields={"provenance": json.dumps(PROVENANCE)})
    body = {"size": 1, "digests": {"sha-256": "0" * 64}, "provenance": PROVENANCE}
    for answer in (by_form, agency.post("/v1/deposits", json=body)):
        stated = registered(answer)["sections"]["provenance"]
        assert stated == {"stated_by_depositor": PROVENANCE}


def test_provenance_may_be_a_part_with_a_media_type(agency: Client) -> None:
    files: dict[str, Any] = {
        "provenance": (None, json.dumps(PROVENANCE), "application/json"),
        "file": ("a.txt", some_bytes()),
    }
    given = registered(agency.post("/v1/deposits", files=files))
    assert given["sections"]["provenance"] == {"stated_by_depositor": PROVENANCE}


@pytest.mark.parametrize(
    "stated",
    [
        "{",
        "[]",
        "{}",
        "null",
        '{"sauce": "x"}',
        '{"source": ""}',
        '{"source": 7}',
        '{"source": NaN}',
        '{"source": "\\ud800"}',
        '{"captured_at": "yesterday"}',
        json.dumps({"steps": ["x"] * 51}),
        json.dumps({"source": "x" * 2001}),
        json.dumps({"steps": ["x" * 1900] * 10}),
    ],
    ids=range(13),
)
def test_provenance_that_does_not_fit_is_refused_and_nothing_kept(
    service: Service, agency: Client, stated: str
) -> None:
    before = kept(service)
    answer = post_form(agency, some_bytes(), fields={"provenance": stated})
    problem(answer, 400, "provenance_malformed")
    assert kept(service) == before


def test_provenance_longer_than_any_field_is_refused(service: Service, agency: Client) -> None:
    before = kept(service)
    answer = post_form(agency, some_bytes(), fields={"provenance": " " * 2_000_000})
    problem(answer, 400, "form_malformed")
    assert kept(service) == before


def test_links_to_deposits_of_ones_own_are_kept(agency: Client) -> None:
    first = registered(post(agency, some_bytes()))["id"]
    by_query = post(agency, some_bytes(), f"/v1/deposits?replaces={first}")
    by_form = post_form(agency, some_bytes(), fields={"derivative_of": first})
    body = {"size": 1, "digests": {"sha-256": "0" * 64}, "links": {"redaction_of": first}}
    by_json = agency.post("/v1/deposits", json=body)
    for answer, kind in (
        (by_query, "replaces"),
        (by_form, "derivative_of"),
        (by_json, "redaction_of"),
    ):
        assert registered(answer)["sections"]["links"] == {kind: first}


def test_a_link_to_what_is_not_there_or_not_yours_is_refused_alike(
    service: Service, agency: Client, staff: Staff
) -> None:
    before = kept(service)
    others = staff.client()
    foreign = registered(others.post("/v1/deposits", data=b"theirs"))["id"]
    unknown = foreign[:-1] + ("0" if foreign[-1] != "0" else "1")
    details = {
        problem(post(agency, b"x", f"/v1/deposits?previous={linked}"), 404, "deposit_not_found")
        for linked in (foreign, unknown)
    }
    assert len(details) == 1
    problem(post(agency, b"x", "/v1/deposits?previous=7"), 400, "links_malformed")
    assert len(kept(service)) == len(before) + 1


# --- what a refusal does to the connection -----------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/deposits?case=none",
        "/v1/deposits?exhibit=1",
        "/v1/deposits?previous=x",
        "/v1/nowhere",
        "/v1/limits",
    ],
)
def test_a_client_is_told_that_a_refused_body_ends_the_connection(
    agency: Client, path: str
) -> None:
    """Or else its next request, on the same connection, would get no answer."""
    refused = post(agency, some_bytes(3_000_000), path)
    assert refused.status_code in (400, 404, 405)
    assert refused.headers["Connection"] == "close"
    for _ in range(3):
        registered(post(agency, some_bytes()))


# --- limits -------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused_at_the_door_before_its_body(
    small: Service, small_staff: Staff
) -> None:
    """Not one byte of the body is sent: the answer comes all the same."""
    client = small_staff.client()
    before = kept(small)
    headers, _ = form(b"")
    for head, length in (({"Content-Type": OCTETS}, 100_001), (headers, 20_000_000)):
        sent: dict[str, str | bytes | int] = {**head, "Content-Length": length}
        with wire(client, "POST", "/v1/deposits", sent) as line:
            answer = line.answer()
        assert answer.status == 413
        assert json.loads(answer.body)["code"] == "file_limit"
    assert kept(small) == before
    registered(post(client, some_bytes(100_000)))


def test_a_file_over_the_limit_is_refused_as_soon_as_that_shows(
    small: Service, small_staff: Staff
) -> None:
    client, data = small_staff.client(), some_bytes(100_001)
    before = kept(small)
    problem(post(client, iter([data]), repr_digest=digest_field(data)), 413, "file_limit")
    problem(post_form(client, data), 413, "file_limit")
    assert kept(small) == before


def test_an_account_over_its_limit_is_refused(small: Service, small_staff: Staff) -> None:
    client = small_staff.client()
    for _ in range(2):
        registered(post(client, some_bytes(100_000)))
    shown = client.get("/v1/limits").json()
    assert (shown["file_bytes"], shown["account_bytes"]) == (100_000, 250_000)
    assert shown["account_bytes_used"] == 200_000
    before = kept(small)
    with wire(
        client, "POST", "/v1/deposits", {"Content-Type": OCTETS, "Content-Length": 50_001}
    ) as line:
        answer = line.answer()
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "account_limit")
    data = some_bytes(50_001)
    problem(post(client, iter([data]), repr_digest=digest_field(data)), 413, "account_limit")
    assert kept(small) == before
    registered(post(client, some_bytes(50_000)))
    problem(post(client, b"x"), 413, "account_limit")
    # What stays with the depositor takes no room.
    digests = {"size": 10**12, "digests": {"sha-256": "0" * 64}}
    registered(client.post("/v1/deposits", json=digests))


def test_many_at_once_do_not_pass_the_accounts_limit_together(
    small: Service, small_staff: Staff
) -> None:
    client = small_staff.client()
    before = kept(small)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, some_bytes(60_000)), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [413] * 4
    assert len(kept(small)) == len(before) + 4
    assert client.get("/v1/limits").json()["account_bytes_used"] == 240_000


# --- doing it again -----------------------------------------------------------------------------


def test_fifty_same_requests_at_once_make_one_deposit(service: Service, agency: Client) -> None:
    before, data, key = kept(service), some_bytes(), str(uuid.uuid4())
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(agency, data, idempotency_key=key), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.json()["leaf_index"] for answer in answers}) == 1
    assert len(kept(service)) == len(before) + 1


def test_a_key_used_for_another_request_is_refused_and_nothing_kept(
    service: Service, agency: Client
) -> None:
    key, data = f'"{uuid.uuid4()}"', some_bytes()
    first = registered(post(agency, data, idempotency_key=key))
    before = kept(service)
    for answer in (
        post(agency, some_bytes(), idempotency_key=key),
        post(agency, data, "/v1/deposits?timestamp=document", idempotency_key=key),
        post(agency, data, content_type="text/plain", idempotency_key=key),
        agency.post(
            "/v1/deposits",
            json={"size": len(data), "digests": first["digests"]},
            headers={"Idempotency-Key": key},
        ),
    ):
        problem(answer, 422, "idempotency_key_reused")
    again = post(agency, data, idempotency_key=key)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert kept(service) == before


def test_a_key_belongs_to_one_account(staff: Staff, agency: Client) -> None:
    key = str(uuid.uuid4())
    others = staff.client()
    assert (
        registered(post(agency, b"one", idempotency_key=key))["id"]
        != registered(post(others, b"one", idempotency_key=key))["id"]
    )


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "é"])
def test_a_key_that_cannot_be_read_is_refused(agency: Client, key: str) -> None:
    answer = agency.post("/v1/deposits", data=b"x", headers={"Idempotency-Key": key.encode()})
    problem(answer, 400, "idempotency_key_malformed")


def test_a_client_reference_names_one_content(service: Service, agency: Client) -> None:
    reference, data = str(uuid.uuid4()), some_bytes()
    path = f"/v1/deposits?client_reference={reference}"
    first = registered(post(agency, data, path))
    before = kept(service)
    again = post(agency, data, path)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    problem(post(agency, some_bytes(), path), 409, "client_reference_reused")
    assert kept(service) == before
    (found,) = agency.get("/v1/deposits", params={"client_reference": reference}).json()["items"]
    assert found["id"] == first["id"]


def test_an_original_is_not_taken_for_deposited_where_only_its_digests_were(
    agency: Client,
) -> None:
    reference, data = str(uuid.uuid4()), some_bytes()
    body = {"size": len(data), "digests": {"sha-256": hashed("sha256", data)}}
    path = f"/v1/deposits?client_reference={reference}"
    registered(agency.post(path, json=body))
    problem(post(agency, data, path), 409, "client_reference_reused")


# --- exhibits -----------------------------------------------------------------------------------


def test_exhibits_number_themselves_and_no_number_is_given_twice(
    service: Service, agency: Client
) -> None:
    case = new_case(agency)
    path = f"/v1/deposits?case={case['number']}"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(agency, some_bytes(), path), range(16)))
    numbers = {registered(answer)["exhibit"] for answer in answers}
    assert numbers == {str(number) for number in range(1, 17)}
    before = kept(service)
    problem(post(agency, some_bytes(), f"{path}&exhibit=7"), 409, "exhibit_taken")
    assert kept(service) == before
    # A number that somebody chose is passed over, and its neighbour is not.
    registered(post(agency, some_bytes(), f"{path}&exhibit=17"))
    assert registered(post(agency, some_bytes(), path))["exhibit"] == "18"
    listed = agency.get("/v1/deposits", params={"case": case["id"]}).json()["items"]
    assert len(listed) == 18


def test_a_case_must_be_there_and_an_exhibit_needs_one(service: Service, agency: Client) -> None:
    before = kept(service)
    problem(post(agency, b"x", "/v1/deposits?case=none%20such"), 404, "case_not_found")
    problem(post(agency, b"x", "/v1/deposits?exhibit=1"), 400, "case_missing")
    problem(post_form(agency, b"x", fields={"case": "none such"}), 404, "case_not_found")
    assert kept(service) == before


def test_courts_that_share_a_case_number_are_told_apart(agency: Client) -> None:
    number = f"S-{uuid.uuid4()}"
    for court in ("North", "South"):
        body = {"court": court, "number": number, "title": "A v. B"}
        assert agency.post("/v1/cases", json=body).status_code == 201
    problem(post(agency, b"x", f"/v1/deposits?case={number}"), 409, "case_ambiguous")
    given = registered(post(agency, b"x", f"/v1/deposits?case={number}&court=South"))
    assert given["sections"]["case"]["court"] == "South"


# --- after all of it ----------------------------------------------------------------------------


def stored_deposits(home: Path) -> set[str]:
    with sqlite3.connect(home / "notary.db") as rows:
        return {str(id_) for (id_,) in rows.execute("SELECT id FROM deposit WHERE stored")}


@pytest.mark.parametrize("house", ["service", "small"])
def test_after_all_of_it_each_object_is_a_deposit_and_each_deposit_has_its_object(
    request: pytest.FixtureRequest, house: str
) -> None:
    service: Service = request.getfixturevalue(house)
    assert service.cli("sweep", "--older-than", "0").stdout == (
        "0 unfinished uploads and 0 orphans removed\n"
    )
    assert kept(service) == stored_deposits(service.home)
