"""local-zitadel's tokens and the assertions for them: signatures, expiry, what is rejected."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest

from contract import Contract
from local_zitadel import LocalZitadel, local_zitadel
from recorded import BY_ID, BY_SECRET, BY_USER, changed


def test_the_id_token_is_signed_with_the_published_key(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
    id_token = contract.send(BY_ID[BY_USER]["request"]).json()["id_token"]
    key = jwt.PyJWKClient(f"{server.issuer}/oauth/v2/keys").get_signing_key_from_jwt(id_token)
    project = contract.names["PROJECT_ID"]
    claims = jwt.decode(id_token, key, ["RS256"], audience=project, issuer=server.issuer)
    assert claims["sub"] == contract.names["JWT_USER"]


def test_a_jwt_access_token_contains_the_claims_of_its_introspection(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
    token = contract.names["JWT_ACCESS_TOKEN"]
    key = jwt.PyJWKClient(f"{server.issuer}/oauth/v2/keys").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, ["RS256"], audience=contract.names["PROJECT_ID"])
    answer = contract.send(changed(BY_SECRET, "form", "token", to=token)).json()
    assert claims == {name: answer[name] for name in claims}
    assert claims.keys() == {"iss", "sub", "aud", "exp", "iat", "nbf", "client_id", "jti"}


def test_an_id_token_is_not_accepted_as_an_access_token(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
    id_token = contract.send(BY_ID[BY_USER]["request"]).json()["id_token"]
    request = changed(BY_SECRET, "form", "token", to=id_token)
    assert contract.send(request).json() == {"active": False}
    assert server.log().endswith(
        "inactive, the token is an id_token, which is for the client alone\n"
    )


@pytest.mark.parametrize("by_user", [BY_USER, "token/jwt-profile/jwt-access-token"])
def test_an_access_token_expires(by_user: str) -> None:
    with local_zitadel("--token-seconds", "1") as server:
        contract = Contract(server.issuer, server.admin_pat)
        for case in BY_ID.values():
            if case["id"].startswith("token/"):
                break
            contract.run(case)
        answer = contract.send(BY_ID[by_user]["request"]).json()
        assert answer["expires_in"] == 1
        introspection = changed(BY_SECRET, "form", "token", to=answer["access_token"])
        assert contract.send(introspection).json()["active"] is True
        time.sleep(1.1)
        assert contract.send(introspection).json() == {"active": False}
        assert server.log().count("inactive, the token expired 0 s ago") == 1


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    pieces = [json.dumps(header).encode(), json.dumps(claims).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(piece).decode().rstrip("=") for piece in pieces)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256"])
def test_an_assertion_without_a_signature_is_rejected(
    algorithm: str, replayed: tuple[LocalZitadel, Contract]
) -> None:
    server, contract = replayed
    user, kid = contract.names["JWT_USER"], contract.names["USER_KEY"]["keyId"]
    claims = {"iss": user, "sub": user, "aud": server.issuer, "iat": int(time.time()) - 5}
    claims["exp"] = claims["iat"] + 300
    assertion = unsigned({"alg": algorithm, "kid": kid, "typ": "JWT"}, claims)
    request = changed(BY_USER, "form", "assertion", to=assertion)
    assert contract.send(request).status_code == 400


@pytest.mark.parametrize("claim", ["iat", "exp"])
@pytest.mark.parametrize("number", [True, "5", None, [], 10**400, -(10**400), float("nan")])
def test_an_invalid_time_in_an_assertion_is_rejected(
    replayed: tuple[LocalZitadel, Contract], claim: str, number: Any
) -> None:
    server, contract = replayed
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
