"""local-zitadel answers only under its own host name, as ZITADEL does."""

from __future__ import annotations

import pytest
import requests

from contract import Contract
from local_zitadel import LocalZitadel
from recorded import BY_API, BY_ID, BY_SECRET, BY_USER, changed, logged
from servers import DISCOVERY


def test_another_address_of_the_same_machine_is_not_found(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    port = replayed[0].issuer.rsplit(":", 1)[1]
    answer = requests.get(f"http://127.0.0.1:{port}{DISCOVERY}", timeout=10)
    assert answer.status_code == 404
    assert "Message=Instance not found" in answer.text


@pytest.mark.parametrize(
    "host", ["localhost.evil.example", "localhost:80:80", "localhost@x", "", "localhost:"]
)
def test_another_host_name_is_not_found(host: str, replayed: tuple[LocalZitadel, Contract]) -> None:
    url = replayed[0].issuer + DISCOVERY
    assert requests.get(url, headers={"Host": host}, timeout=10).status_code == 404


def test_the_case_of_the_host_name_does_not_matter(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    url = replayed[0].issuer + DISCOVERY
    answer = requests.get(url, headers={"Host": "LOCALHOST"}, timeout=10)
    assert answer.json()["issuer"] == "http://localhost"


@pytest.fixture
def inside(replayed: tuple[LocalZitadel, Contract]) -> Contract:
    """Provide the same run, at an address that isn't ZITADEL's own."""
    server, contract = replayed
    address = server.issuer.replace("localhost", "127.0.0.1")
    inside = Contract(address, server.admin_pat)
    inside.names = contract.names
    return inside


@pytest.mark.parametrize("id_", [BY_USER, BY_API, BY_SECRET])
def test_the_host_header_takes_precedence_over_the_address(
    id_: str, inside: Contract, replayed: tuple[LocalZitadel, Contract]
) -> None:
    host = replayed[0].issuer.removeprefix("http://")
    assert inside.send(changed(id_, "headers", to={"Host": host})).ok
    assert inside.send(BY_ID[id_]["request"]).status_code == 404


def test_the_audience_must_contain_the_port_of_the_host_header(
    inside: Contract, replayed: tuple[LocalZitadel, Contract]
) -> None:
    server = replayed[0]
    without_port = changed(BY_USER, "headers", to={"Host": "localhost"})
    problem = f"the assertion's audience is '{server.issuer}', not 'http://localhost'\n"
    assert problem in logged(server, inside, without_port)
