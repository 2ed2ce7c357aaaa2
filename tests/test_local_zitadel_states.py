"""local-zitadel answers as recorded where something is deactivated, locked, long or many."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from contract import Contract, cases
from instance import PROJECTS, USERS
from local_zitadel import SERVER, LocalZitadel, local_zitadel
from programs import ROOT, run

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
    assert (len(cases("states.json")), len(CASES)) == (88, 88)


def test_a_project_name_is_unique_in_an_organization_and_a_username_in_the_instance() -> None:
    with local_zitadel() as server:
        home = server.organization_id()
        path = "/zitadel.org.v2.OrganizationService/AddOrganization"
        other = server.call(path, {"name": "Other"})["organizationId"]

        def create(organization: str) -> list[int]:
            owned = {"organizationId": organization}
            user = {**owned, "username": "x", "machine": {"name": "x"}}
            calls = {
                f"{PROJECTS}/CreateProject": {**owned, "name": "Quotes"},
                f"{USERS}/CreateUser": user,
            }
            headers = {"Authorization": f"Bearer {server.admin_pat}"}
            return [
                requests.post(server.issuer + path, json=body, headers=headers).status_code
                for path, body in calls.items()
            ]

        assert create(home) == [200, 200]
        assert create(other) == [200, 409]
        assert create(other) == [409, 409]


# Runs it as where IPv6 is turned off: it is compiled in, but there is no ::1.
NO_IPV6 = """
import errno, runpy, socket, sys

def create_server(address, *, family=socket.AF_INET, of=socket.create_server):
    if family == socket.AF_INET6:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    return of(address)

socket.has_ipv6, socket.create_server = True, create_server
sys.path.insert(0, "local-zitadel")
runpy.run_path("local-zitadel/server.py", run_name="__main__")
"""


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


def test_it_runs_where_ipv6_is_turned_off(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_IPV6, "--port", "0"]
    command += ["--token-file", str(tmp_path / "admin.pat")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        host = process.stdout.readline().strip().rpartition("http://")[2]
        url = f"http://{host.replace('localhost', '127.0.0.1')}/oauth/v2/keys"
        assert requests.get(url, headers={"Host": host}, timeout=5).status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def test_a_port_that_is_in_use_at_the_ipv6_address_alone_is_reported(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("needs IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = str(other.getsockname()[1])
        ended = run(ROOT, SERVER, "--port", port, "--token-file", str(tmp_path / "admin.pat"))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"Port {port} can't be used")
    assert not list(tmp_path.iterdir())
