"""local-zitadel answers only under its own host name, as ZITADEL does."""

from __future__ import annotations

import requests

from contract import Contract
from local_zitadel import LocalZitadel
from recorded import (
    BY_API,
    BY_ID,
    BY_SECRET,
    BY_USER,
    changed,
    logged,
)


def test_another_host_name_is_not_found(replayed: tuple[LocalZitadel, Contract]) -> None:
    server = replayed[0]
    port = server.issuer.rsplit(":", 1)[1]
    path = "/.well-known/openid-configuration"
    answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)
    assert answer.status_code == 404
    assert "Message=Instance not found" in answer.text
    by_other_name = requests.get(server.issuer + path, headers={"Host": "LOCALHOST"}, timeout=10)
    assert by_other_name.json()["issuer"] == "http://localhost"
    for host in ("localhost.evil.example", "localhost:80:80", "localhost@x", "", "localhost:"):
        answer = requests.get(server.issuer + path, headers={"Host": host}, timeout=10)
        assert answer.status_code == 404


def test_the_host_header_takes_precedence_over_the_address(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
    port = server.issuer.rsplit(":", 1)[1]
    inside = Contract(f"http://127.0.0.1:{port}", server.admin_pat)
    inside.names = contract.names
    for id_ in (BY_USER, BY_API, BY_SECRET):
        assert inside.send(changed(id_, "headers", to={"Host": f"localhost:{port}"})).ok
        assert inside.send(BY_ID[id_]["request"]).status_code == 404
    without_port = changed(BY_USER, "headers", to={"Host": "localhost"})
    problem = f"the assertion's audience is '{server.issuer}', not 'http://localhost'\n"
    assert problem in logged(server, inside, without_port)
