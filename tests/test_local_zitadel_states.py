"""local-zitadel answers as recorded where something is deactivated, locked, long or many."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from contract import Contract, cases
from local_zitadel import LocalZitadel, local_zitadel

pytestmark = pytest.mark.local_zitadel
CASES = [case for case in cases("states.json") if case["local"]]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalZitadel]:
    with local_zitadel() as server:
        yield server


@pytest.fixture(scope="module")
def contract(server: LocalZitadel) -> Contract:
    return Contract(server.issuer, server.admin_pat)


# In this order: later cases use what earlier ones created.
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_states_are_answered_as_recorded(contract: Contract, case: dict[str, Any]) -> None:
    contract.run(case)


def test_the_states_are_complete() -> None:
    assert (len(cases("states.json")), len(CASES)) == (88, 86)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_it_listens_on_each_address_of_localhost(address: str, server: LocalZitadel) -> None:
    if address == "[::1]" and not has_ipv6():
        pytest.skip("needs IPv6")
    host = server.issuer.removeprefix("http://")
    url = server.issuer.replace("localhost", address) + "/.well-known/openid-configuration"
    answer = requests.get(url, headers={"Host": host}, timeout=5)
    assert answer.status_code == 200
