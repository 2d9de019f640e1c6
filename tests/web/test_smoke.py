from tests.harness.server import Client


def test_a_document_is_registered_with_a_proof(agency: Client) -> None:
    given = agency.post("/v1/deposits", data=b"hello", headers={"Content-Type": "text/plain"})
    assert given.status_code == 201
    assert given.json()["inclusion_proof"]["index"] == given.json()["leaf_index"]
