"""local-zitadel logs why it rejects something, which ZITADEL doesn't disclose, and no secret."""

from __future__ import annotations

import re
from typing import Any

import pytest

from contract import Contract
from local_zitadel import LocalZitadel
from recorded import (
    API_ASSERTION,
    BY_API,
    BY_ID,
    BY_SECRET,
    BY_USER,
    USER_ASSERTION,
    changed,
    logged,
)


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
def test_the_log_says_why_a_request_was_rejected(
    replayed: tuple[LocalZitadel, Contract], request_: dict[str, Any], reason: str
) -> None:
    server, contract = replayed
    assert contract.filled(reason) in logged(server, contract, request_)


@pytest.mark.parametrize(
    ("claim", "seconds", "reason"),
    [
        ("iat", 30, r"token: rejected, the assertion's iat is (29|30) s ahead of this clock\n"),
        ("iat", -7200, r"token: rejected, the assertion's iat is 720[01] s in the past, more than"),
        ("exp", -60, r"token: rejected, the assertion expired 6[01] s ago by this clock\n"),
    ],
)
def test_the_log_says_by_how_much_a_clock_is_wrong(
    replayed: tuple[LocalZitadel, Contract], claim: str, seconds: int, reason: str
) -> None:
    server, contract = replayed
    request = changed(BY_USER, *USER_ASSERTION, "claims", claim, to=seconds)
    assert re.search(reason, logged(server, contract, request))


@pytest.mark.parametrize("stray", ["hush-1234567890", "a\r\nforged line", "\x1b[31m", "x" * 9000])
def test_the_log_contains_nothing_that_might_be_a_secret(
    replayed: tuple[LocalZitadel, Contract], stray: str
) -> None:
    server, contract = replayed
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


def test_the_log_contains_no_credential(replayed: tuple[LocalZitadel, Contract]) -> None:
    server, contract = replayed
    for case in BY_ID.values():
        if "{CC_USER_TOKEN}" in str(case) or "bad-credentials" in case["id"]:
            contract.send(case["request"])
    log = server.log()
    secrets = ["ADMIN_PAT", "BASIC_API_SECRET", "CLIENT_SECRET", "PAT", "CC_USER_TOKEN"]
    for name in secrets:
        assert contract.names[name] not in log
    assert "PRIVATE KEY" not in log
    assert "eyJ" not in log
