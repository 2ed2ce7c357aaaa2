"""local-zitadel rejects malformed JSON and HTTP without a traceback."""

from __future__ import annotations

import socket

import pytest
import requests

from contract import Contract
from instance import PROJECTS, USERS
from local_zitadel import LocalZitadel

BAD_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff",
    b'{"organizationId": 5}',
    b'{"name": ["x"]}',
    b'{"userId": {}}',
    b'{"filters": {}}',
    b'{"filters": [5]}',
    b'{"filters": [{"projectNameFilter": 1}]}',
    b'{"queries": "x"}',
    b'{"queries": [[]]}',
    b'{"apiConfiguration": []}',
    b'{"machine": 1, "organizationId": "x"}',
    b'{"userId": "\\ud800"}',
    b'{"expirationDate": 5}',
    b'{"expirationDate": "tomorrow"}',
    b'{"expirationDate": "9999-12-31T23:59:59-23:59"}',
    b'{"expirationDate": "0001-01-01T00:00:00+23:59"}',
    b'{"expirationDate": "2090-13-01T00:00:00Z"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize(
    "path",
    [
        f"{PROJECTS}/CreateProject",
        f"{PROJECTS}/ListProjects",
        f"{PROJECTS}/AddProjectRole",
        f"{PROJECTS}/CreateProjectGrant",
        "/zitadel.org.v2.OrganizationService/AddOrganization",
        "/zitadel.application.v2.ApplicationService/CreateApplication",
        "/zitadel.application.v2.ApplicationService/CreateApplicationKey",
        f"{USERS}/CreateUser",
        f"{USERS}/ListUsers",
        f"{USERS}/AddKey",
        f"{USERS}/AddPersonalAccessToken",
        "/zitadel.authorization.v2.AuthorizationService/CreateAuthorization",
        "/zitadel.authorization.v2.AuthorizationService/UpdateAuthorization",
    ],
)
@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:40]))
def test_a_malformed_body_is_rejected_with_json(
    body: bytes, path: str, replayed: tuple[LocalZitadel, Contract]
) -> None:
    server = replayed[0]
    headers = {"Authorization": f"Bearer {server.admin_pat}", "Content-Type": "application/json"}
    answer = requests.post(server.issuer + path, data=body, headers=headers, timeout=10)
    assert answer.headers["Content-Type"] == "application/json"
    # A list ignores what it doesn't know; the others miss something in each of these.
    assert answer.status_code in (200, 400, 404, 501), answer.text
    if answer.status_code == 400:
        assert answer.json()["code"] in ("invalid_argument", "failed_precondition")
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"organizationId": 5}', pytest.param(b"[" * 100_000, id="deeply nested")],
)
def test_broken_json_is_an_invalid_argument(
    body: bytes, replayed: tuple[LocalZitadel, Contract]
) -> None:
    server = replayed[0]
    headers = {"Authorization": f"Bearer {server.admin_pat}", "Content-Type": "application/json"}
    path = f"{server.issuer}{PROJECTS}/CreateProject"
    answer = requests.post(path, data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


def exchange(server: LocalZitadel, sent: bytes) -> bytes:
    """Send bytes and return all that comes until the server hangs up."""
    port = int(server.issuer.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hush\r\n\r\n", 400),
        (b"GET http://[hush HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST /oauth/v2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhush", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /hush%0d%0a HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /oauth/v2/keys HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n", 404),
    ],
)
def test_malformed_http_is_rejected_without_a_traceback(
    replayed: tuple[LocalZitadel, Contract], sent: bytes, status: int
) -> None:
    server = replayed[0]
    answer = exchange(server, sent)
    # Without a readable request line http.server answers as in HTTP/0.9: a body alone.
    assert (b" %d " % status) in answer or answer == b"%d\n" % status
    assert b"<" not in answer
    assert "Traceback" not in server.log()
    assert "hush" not in server.log()


def test_a_connection_is_kept_open(replayed: tuple[LocalZitadel, Contract]) -> None:
    one = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    assert exchange(replayed[0], one + post + one).count(b"HTTP/1.1 404 ") == 3
