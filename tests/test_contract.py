"""local-zitadel answers as the recorded ZITADEL did, and logs what that one hides."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jwt
import pytest
import requests

import contract as contract_module
from contract import Contract, cases
from instance import Instance, new_name
from local_zitadel import SERVER, LocalZitadel, local_zitadel
from programs import ROOT, run

BY_ID = {case["id"]: case for case in cases()}
ROLES = "urn:zitadel:iam:org:project:roles"
PROJECTS = "/zitadel.project.v2.ProjectService"
USERS = "/zitadel.user.v2.UserService"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each case."""
    if "case" in metafunc.fixturenames:
        domain = metafunc.config.getoption("--zitadel-domain") or ""
        chosen = list(BY_ID.values())
        if domain.startswith("https:"):
            # A proxy that terminates TLS may answer another host's name by itself.
            chosen.remove(BY_ID["wrong-host"])
        metafunc.parametrize("case", chosen, ids=[case["id"] for case in chosen])


@pytest.fixture(scope="module")
def contract(instance: Instance) -> Iterator[Contract]:
    """Give one run through the cases, in their order."""
    contract = Contract(instance.issuer, instance.admin_pat, wait=instance.lags)
    yield contract
    contract.clean_up()


@pytest.fixture(scope="module")
def provisioned() -> Iterator[tuple[LocalZitadel, Contract]]:
    """Give a local-zitadel in which everything has been created and nothing removed yet."""
    with local_zitadel() as server:
        contract = Contract(server.issuer, server.admin_pat)
        for case in BY_ID.values():
            if case["id"].startswith("introspect/"):
                break
            contract.run(case)
        yield server, contract


def test_answers_as_recorded(contract: Contract, case: dict[str, Any]) -> None:
    contract.run(case)


def test_the_cases_are_complete() -> None:
    assert len(BY_ID) == 193
    assert sum(case["local"] for case in BY_ID.values()) == 181


# The runner itself


def failure(contract: Contract, case: dict[str, Any]) -> str:
    with pytest.raises(AssertionError) as caught:
        contract.run(case)
    return str(caught.value)


@pytest.fixture
def active(provisioned: tuple[LocalZitadel, Contract]) -> tuple[Contract, dict[str, Any]]:
    """Give a contract, and a case that it passes unchanged."""
    contract, case = provisioned[1], deepcopy(BY_ID["introspect/basic/client-credentials-token"])
    contract.run(case)
    return contract, case


def test_the_runner_catches_a_wrong_status(active: tuple[Contract, dict[str, Any]]) -> None:
    contract, case = active
    case["response"]["status"] = 201
    assert failure(contract, case) == f"{case['id']}:\n  status 200, recorded 201"


def test_the_runner_catches_a_wrong_content_type(active: tuple[Contract, dict[str, Any]]) -> None:
    contract, case = active
    case["response"]["headers"]["content-type"] = "application/json; charset=utf-8"
    assert "content-type 'application/json', recorded" in failure(contract, case)


def test_the_runner_catches_a_key_too_many(active: tuple[Contract, dict[str, Any]]) -> None:
    contract, case = active
    del case["response"]["body"]["amr"]
    assert "body.amr is not in the recorded answer" in failure(contract, case)


def test_the_runner_catches_a_missing_key(active: tuple[Contract, dict[str, Any]]) -> None:
    contract, case = active
    case["response"]["body"]["email"] = "{ANY}"
    assert "body.email is missing" in failure(contract, case)


@pytest.mark.parametrize(
    ("key", "recorded"),
    [
        ("exp", "{TIME}"),
        ("iat", "{IN_SECONDS:43200}"),
        ("iat", "{SECONDS:43200}"),
        ("exp", "{TIMESTAMP}"),
        ("sub", "{TIME}"),
        ("active", 1),
        ("aud", ["{PROJECT_ID}", "{PROJECT_ID}"]),
        ("aud", "{PROJECT_ID}"),
        ("sub", "{PAT_USER}"),
        ("urn:zitadel:iam:org:project:roles", {"read:messages": {"{ORG_ID}": "other"}}),
        ("urn:zitadel:iam:org:project:roles", {"read:messages": {"{PROJECT_ID}": "{ANY}"}}),
    ],
)
def test_the_runner_catches_a_wrong_value(
    active: tuple[Contract, dict[str, Any]], key: str, recorded: Any
) -> None:
    contract, case = active
    case["response"]["body"][key] = recorded
    assert f"body.{key}" in failure(contract, case)


def test_the_runner_catches_a_name_without_a_value(
    active: tuple[Contract, dict[str, Any]],
) -> None:
    contract, case = active
    case["binds"] = {"NOTHING": "no.such.key"}
    assert "nothing to bind NOTHING to at no.such.key" in failure(contract, case)
    case["request"]["form"]["token"] = "{NOTHING}"
    assert "{NOTHING} is not bound" in failure(contract, case)


def test_only_a_given_zitadel_may_answer_as_an_older_one(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    case = deepcopy(BY_ID["token/jwt-profile/expired"])
    case["response"], case["older"] = case["older"], case["response"]
    assert "status 400, recorded 500" in failure(contract, case)
    given = Contract(server.issuer, server.admin_pat, wait=True)
    given.names = contract.names
    given.run(case)
    case["older"]["status"] = 401
    assert "status 400, recorded 500" in failure(given, case)


def test_what_cannot_be_deleted_is_reported(
    provisioned: tuple[LocalZitadel, Contract], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, contract = provisioned
    monkeypatch.setitem(contract_module.CREATED, "AddMoon", ("id", "/moon/Delete", "id"))
    for token, name in ((server.admin_pat, "AddMoon"), (contract.names["PAT"], "CreateUser")):
        other = Contract(server.issuer, token)
        other.created = [(name, "1")]
        with pytest.warns(UserWarning, match=f"What {name} created in .+ remains, 1: "):
            other.clean_up()


def test_what_was_deleted_before_is_not_reported(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    other = Contract(provisioned[0].issuer, provisioned[0].admin_pat)
    other.created = [(name, "1") for name in contract_module.CREATED]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.clean_up()


# The log


def logged(server: LocalZitadel, contract: Contract, request: dict[str, Any]) -> str:
    """Send a request and return what it added to the log."""
    before = len(server.log())
    contract.send(request)
    return server.log()[before:]


def changed(id_: str, *path: str, to: Any) -> dict[str, Any]:
    """Return a recorded request with one of its parts replaced."""
    request: dict[str, Any] = deepcopy(BY_ID[id_]["request"])
    part = request
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return request


USER_ASSERTION = ("form", "assertion", "jwt")
API_ASSERTION = ("form", "client_assertion", "jwt")
BY_USER = "token/jwt-profile/openid-and-audience"
BY_API = "introspect/assertion/jwt-profile-token"
BY_SECRET = "introspect/basic/jwt-profile-token"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (
            changed(BY_USER, *USER_ASSERTION, "claims", "aud", to="{ISSUER}/"),
            "token: rejected, the assertion's audience is '{ISSUER}/', not '{ISSUER}'\n",
        ),
        (
            changed(BY_USER, *USER_ASSERTION, "claims", "sub", to="1"),
            "token: rejected, the assertion's iss and sub differ\n",
        ),
        (
            changed(BY_USER, *USER_ASSERTION, "header", to={"kid": "{API_KEY.keyId}"}),
            "belongs to an API, but a service account's is required\n",
        ),
        (
            changed(BY_API, *API_ASSERTION, "header", to={"kid": "{USER_KEY.keyId}"}),
            "belongs to a service account, but an API's is required\n",
        ),
        (
            changed(BY_API, *API_ASSERTION, "key", to="{USER_KEY.key}"),
            "rejected, the assertion isn't signed with its kid's key, {API_KEY.keyId}\n",
        ),
        (
            changed(BY_API, "form", "token", to="{NO_AUDIENCE_TOKEN}"),
            "inactive, the token's audience [] contains neither this API's client id "
            "{JWT_API.clientId} nor its project {PROJECT_ID}\n",
        ),
        (
            changed(BY_API, "form", "token", to="garbage"),
            "introspection: inactive, the token is unknown; a restart forgets them all\n",
        ),
        (
            changed(BY_SECRET, "authorization", "basic", to=["{BASIC_API.clientId}", "wrong"]),
            "introspection: rejected, wrong secret for API {BASIC_API.clientId}\n",
        ),
        (
            changed(BY_SECRET, "authorization", "basic", to=["{JWT_API.clientId}", "wrong"]),
            "API {JWT_API.clientId} requires a key, but a secret was sent\n",
        ),
        (
            BY_ID["token/client-credentials/user-id-as-client-id"]["request"],
            "the client id is the service account's id {CC_USER}, not its username\n",
        ),
        (
            BY_ID["provision/user-without-permission"]["request"],
            "CreateProject: rejected, service account {PAT_USER} is not an administrator\n",
        ),
        (
            changed("provision/authorize-unknown-role", "json", "roleKeys", to=["\x1b[1m\n\u202e"]),
            "project {PROJECT_ID} has no role '\\x1b[1m\\n\\u202e'\n",
        ),
    ],
)
def test_the_log_tells_the_reason(
    provisioned: tuple[LocalZitadel, Contract], request_: dict[str, Any], reason: str
) -> None:
    server, contract = provisioned
    assert contract.filled(reason) in logged(server, contract, request_)


@pytest.mark.parametrize(
    ("claim", "seconds", "reason"),
    [
        ("iat", 30, r"token: rejected, the assertion's iat is (29|30) s ahead of this clock\n"),
        ("iat", -7200, r"token: rejected, the assertion's iat is 720[01] s in the past, more than"),
        ("exp", -60, r"token: rejected, the assertion expired 6[01] s ago by this clock\n"),
    ],
)
def test_the_log_tells_how_far_the_clocks_are_apart(
    provisioned: tuple[LocalZitadel, Contract], claim: str, seconds: int, reason: str
) -> None:
    server, contract = provisioned
    request = changed(BY_USER, *USER_ASSERTION, "claims", claim, to=seconds)
    assert re.search(reason, logged(server, contract, request))


@pytest.mark.parametrize("stray", ["hush-1234567890", "a\r\nforged line", "\x1b[31m", "x" * 9000])
def test_the_log_shows_nothing_that_may_be_a_secret(
    provisioned: tuple[LocalZitadel, Contract], stray: str
) -> None:
    server, contract = provisioned
    before = len(server.log())
    requests_ = [
        changed(BY_SECRET, "form", "token", to=stray),
        changed(BY_SECRET, "authorization", "basic", to=["{BASIC_API.clientId}", stray]),
        changed(BY_SECRET, "authorization", "basic", to=[stray, "{BASIC_API_SECRET}"]),
        changed(BY_API, "form", "client_assertion", to=stray),
        changed(BY_API, "form", "client_assertion_type", to=stray),
        changed(BY_API, *API_ASSERTION, "header", to={"kid": stray}),
        changed(BY_API, *API_ASSERTION, "claims", "aud", to=stray),
        changed(BY_API, *API_ASSERTION, "claims", "aud", to=[stray, "1"]),
        changed(BY_API, *API_ASSERTION, "claims", "iss", to=stray),
        changed(BY_API, *API_ASSERTION, "claims", "iat", to=stray),
        changed(BY_USER, "form", "assertion", to=stray),
        changed(BY_USER, "form", "grant_type", to=stray),
        changed("token/client-credentials/basic", "form", "scope", to=f"x:{stray}"),
        changed("provision/create-project", "json", "organizationId", to=stray),
    ]
    for request in requests_:
        contract.send(request)
    if stray.isprintable():
        for header in (f"Bearer {stray}", stray):
            contract.send(changed("provision/create-project", "authorization", to={"raw": header}))
    log = server.log()[before:]
    assert log.count("\n") >= len(requests_) - 1
    assert stray not in log
    assert "forged" not in log
    assert max(map(len, log.splitlines())) < 400
    assert "Traceback" not in log


def test_the_log_contains_no_credential(provisioned: tuple[LocalZitadel, Contract]) -> None:
    server, contract = provisioned
    for case in BY_ID.values():
        if "{CC_USER_TOKEN}" in str(case) or "bad-credentials" in case["id"]:
            contract.send(case["request"])
    log = server.log()
    secrets = ["ADMIN_PAT", "BASIC_API_SECRET", "CLIENT_SECRET", "PAT", "CC_USER_TOKEN"]
    for name in secrets:
        assert contract.names[name] not in log
    assert "PRIVATE KEY" not in log
    assert "eyJ" not in log


# What no recording shows


def test_no_other_host_name_is_answered(provisioned: tuple[LocalZitadel, Contract]) -> None:
    server = provisioned[0]
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


def test_the_host_header_alone_decides_which_zitadel_answers(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    port = server.issuer.rsplit(":", 1)[1]
    inside = Contract(f"http://127.0.0.1:{port}", server.admin_pat)
    inside.names = contract.names
    for id_ in (BY_USER, BY_API, BY_SECRET):
        assert inside.send(changed(id_, "headers", to={"Host": f"localhost:{port}"})).ok
        assert inside.send(BY_ID[id_]["request"]).status_code == 404
    without_port = changed(BY_USER, "headers", to={"Host": "localhost"})
    problem = f"the assertion's audience is '{server.issuer}', not 'http://localhost'\n"
    assert problem in logged(server, inside, without_port)


def test_the_id_token_is_signed_with_the_published_key(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    id_token = contract.send(BY_ID[BY_USER]["request"]).json()["id_token"]
    key = jwt.PyJWKClient(f"{server.issuer}/oauth/v2/keys").get_signing_key_from_jwt(id_token)
    project = contract.names["PROJECT_ID"]
    claims = jwt.decode(id_token, key, ["RS256"], audience=project, issuer=server.issuer)
    assert claims["sub"] == contract.names["JWT_USER"]


def test_a_jwt_access_token_says_what_its_introspection_says(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    token = contract.names["JWT_ACCESS_TOKEN"]
    key = jwt.PyJWKClient(f"{server.issuer}/oauth/v2/keys").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, ["RS256"], audience=contract.names["PROJECT_ID"])
    answer = contract.send(changed(BY_SECRET, "form", "token", to=token)).json()
    assert claims == {name: answer[name] for name in claims}
    assert claims.keys() == {"iss", "sub", "aud", "exp", "iat", "nbf", "client_id", "jti"}


def test_an_id_token_is_no_access_token(provisioned: tuple[LocalZitadel, Contract]) -> None:
    server, contract = provisioned
    id_token = contract.send(BY_ID[BY_USER]["request"]).json()["id_token"]
    request = changed(BY_SECRET, "form", "token", to=id_token)
    assert contract.send(request).json() == {"active": False}
    assert server.log().endswith(
        "inactive, the token is an id_token, which is for the client alone\n"
    )


def test_a_deactivated_user_has_no_access(provisioned: tuple[LocalZitadel, Contract]) -> None:
    server, contract = provisioned
    name = new_name()
    user = server.add_user(name)
    secret = server.call(f"{USERS}/AddSecret", {"userId": user})["clientSecret"]
    asked = changed("token/client-credentials/basic", "authorization", to={"basic": [name, secret]})
    tokens = [server.add_pat(user), contract.send(asked).json()["access_token"]]

    def active() -> list[bool]:
        requests_ = [changed(BY_SECRET, "form", "token", to=token) for token in tokens]
        return [contract.send(request).json()["active"] for request in requests_]

    assert active() == [True, True]
    server.call(f"{USERS}/DeactivateUser", {"userId": user})
    assert active() == [False, False]
    assert f"the token's service account {user} is deactivated" in server.log()
    assert contract.send(asked).json()["error_description"] == "Errors.User.NotActive"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"name": 5}',
        b'{"accessTokenType": "ACCESS_TOKEN_TYPE_JWT"}',
        b'{"name": "x", "accessTokenType": "JWT"}',
        b'{"name": "x", "accessTokenType": []}',
    ],
)
def test_a_malformed_change_of_a_user_is_rejected(
    provisioned: tuple[LocalZitadel, Contract], body: bytes
) -> None:
    server, contract = provisioned
    url = f"{server.issuer}/management/v1/users/{contract.names['CC_USER']}/machine"
    headers = {"Authorization": f"Bearer {server.admin_pat}"}
    answer = requests.put(url, data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    ("identifier", "role", "code"),
    [("1", "read:messages", "not_found"), ("{JWT_AUTHORIZATION}", "no", "failed_precondition")],
)
def test_an_authorization_is_changed_only_to_roles_that_exist(
    provisioned: tuple[LocalZitadel, Contract], identifier: str, role: str, code: str
) -> None:
    request = changed("provision/update-authorization", "json", to={"id": identifier})
    request["json"]["roleKeys"] = [role]
    assert provisioned[1].send(request).json()["code"] == code


def test_an_access_token_expires() -> None:
    with local_zitadel("--token-seconds", "1") as server:
        contract = Contract(server.issuer, server.admin_pat)
        for case in BY_ID.values():
            if case["id"].startswith("token/"):
                break
            contract.run(case)
        requests_ = []
        for by_user in (BY_USER, "token/jwt-profile/jwt-access-token"):
            answer = contract.send(BY_ID[by_user]["request"]).json()
            assert answer["expires_in"] == 1
            requests_.append(changed(BY_SECRET, "form", "token", to=answer["access_token"]))
        assert [contract.send(request).json()["active"] for request in requests_] == [True, True]
        time.sleep(1.1)
        for request in requests_:
            assert contract.send(request).json() == {"active": False}
        assert server.log().count("inactive, the token expired 0 s ago") == 2


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    pieces = [json.dumps(header).encode(), json.dumps(claims).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(piece).decode().rstrip("=") for piece in pieces)


def test_an_assertion_without_a_signature_is_rejected(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    user, kid = contract.names["JWT_USER"], contract.names["USER_KEY"]["keyId"]
    claims = {"iss": user, "sub": user, "aud": server.issuer, "iat": int(time.time()) - 5}
    claims["exp"] = claims["iat"] + 300
    for algorithm in ("none", "None", "HS256", "RS256"):
        assertion = unsigned({"alg": algorithm, "kid": kid, "typ": "JWT"}, claims)
        request = changed(BY_USER, "form", "assertion", to=assertion)
        assert contract.send(request).status_code == 400


@pytest.mark.parametrize("claim", ["iat", "exp"])
@pytest.mark.parametrize("number", [True, "5", None, [], 10**400, -(10**400), float("nan")])
def test_an_odd_time_in_an_assertion_is_rejected(
    provisioned: tuple[LocalZitadel, Contract], claim: str, number: Any
) -> None:
    server, contract = provisioned
    user, key = contract.names["JWT_USER"], contract.names["USER_KEY"]
    now = int(time.time())
    claims = {"iss": user, "sub": user, "aud": server.issuer, "iat": now - 5, "exp": now + 300}
    claims[claim] = number
    payload = json.dumps(claims).encode()
    assertion = jwt.PyJWS().encode(payload, key["key"], "RS256", {"kid": key["keyId"]})
    answer = contract.send(changed(BY_USER, "form", "assertion", to=assertion))
    is_far_future = claim == "exp" and number == 10**400
    assert answer.status_code == (200 if is_far_future else 400)
    assert "Traceback" not in server.log()


def test_a_new_secret_ends_the_one_before(provisioned: tuple[LocalZitadel, Contract]) -> None:
    contract = provisioned[1]
    old = contract.names["ODD_SECRET"]
    contract.run(BY_ID["provision/add-secret-odd-user"])
    assert contract.names["ODD_SECRET"] != old
    contract.run(BY_ID["token/client-credentials/reserved-characters-encoded"])
    request = BY_ID["token/client-credentials/reserved-characters-encoded"]["request"]
    contract.names["ODD_SECRET"] = old
    assert contract.send(request).status_code == 400


def test_another_organization_assigns_roles_once_the_project_is_granted_to_it(
    provisioned: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = provisioned
    for name in ("partner-organization", "create-partner-user", "add-pat-partner-user"):
        contract.run(BY_ID[f"provision/{name}"])
    assignment = BY_ID["provision/authorize-partner-user"]
    assert contract.send(assignment["request"]).json()["code"] == "failed_precondition"
    contract.run(BY_ID["provision/grant-project"])
    contract.run(assignment)
    introspection = changed(BY_SECRET, "form", "token", to="{PARTNER_PAT}")
    [organizations] = contract.send(introspection).json()[ROLES].values()
    assert list(organizations) == [contract.names["PARTNER_ORG_ID"]]
    path = "/zitadel.org.v2.OrganizationService/DeleteOrganization"
    server.call(path, {"organizationId": contract.names["PARTNER_ORG_ID"]})
    assert contract.send(introspection).json() == {"active": False}
    assert "the token is no longer valid: its owner was deleted" in server.log()


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
def test_a_malformed_body_is_rejected_in_json(
    provisioned: tuple[LocalZitadel, Contract], path: str
) -> None:
    server = provisioned[0]
    headers = {"Authorization": f"Bearer {server.admin_pat}", "Content-Type": "application/json"}
    for body in BAD_BODIES:
        answer = requests.post(server.issuer + path, data=body, headers=headers, timeout=10)
        assert answer.headers["Content-Type"] == "application/json"
        # A list ignores what it doesn't know; the others miss something in each of these.
        assert answer.status_code in (200, 400, 404, 501), (body[:50], answer.text)
        if answer.status_code == 400:
            assert answer.json()["code"] in ("invalid_argument", "failed_precondition")
    assert "Traceback" not in server.log()


def test_broken_json_is_an_invalid_argument(provisioned: tuple[LocalZitadel, Contract]) -> None:
    server = provisioned[0]
    headers = {"Authorization": f"Bearer {server.admin_pat}", "Content-Type": "application/json"}
    path = f"{server.issuer}{PROJECTS}/CreateProject"
    for body in (b"{", b"[]", b'{"organizationId": 5}', b"[" * 100_000):
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
def test_malformed_http_is_rejected_quietly(
    provisioned: tuple[LocalZitadel, Contract], sent: bytes, status: int
) -> None:
    server = provisioned[0]
    answer = exchange(server, sent)
    # Without a readable request line http.server answers as in HTTP/0.9: a body alone.
    assert (b" %d " % status) in answer or answer == b"%d\n" % status
    assert b"<" not in answer
    assert "Traceback" not in server.log()
    assert "hush" not in server.log()


def test_a_connection_is_kept(provisioned: tuple[LocalZitadel, Contract]) -> None:
    one = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    assert exchange(provisioned[0], one + post + one).count(b"HTTP/1.1 404 ") == 3


# Starting and stopping


def test_a_port_in_use_is_one_sentence(
    provisioned: tuple[LocalZitadel, Contract], tmp_path: Any
) -> None:
    port = provisioned[0].issuer.rsplit(":", 1)[1]
    ended = run(ROOT, SERVER, "--port", port, "--token-file", str(tmp_path / "admin.pat"))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"Port {port} can't be used")
    assert ended.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["missing/admin.pat", "folder", "folder/"])
def test_an_unwritable_token_file_is_one_sentence(tmp_path: Any, place: str) -> None:
    (tmp_path / "folder").mkdir()
    ended = run(ROOT, SERVER, "--port", "0", "--token-file", f"{tmp_path}/{place}")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "can't be written" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops processes without a signal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly(number: signal.Signals) -> None:
    with local_zitadel() as server:
        assert requests.get(f"{server.issuer}/oauth/v2/keys", timeout=10).status_code == 200
        server.process.send_signal(number)
        assert server.process.wait(timeout=10) == 0
        assert server.log() == ""


def test_it_says_how_to_go_on_and_keeps_the_token_private() -> None:
    with local_zitadel() as server:
        process = server.process
        assert process.stdout
        assert "not for production" in process.stdout.readline()
        command = f"python provision.py --domain {server.issuer} --token-file {server.token_file}"
        assert command in process.stdout.readline()
        if os.name == "posix":
            assert server.token_file.stat().st_mode & 0o777 == 0o600
