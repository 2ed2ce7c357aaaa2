"""JWT access tokens: both APIs accept them like opaque ones, and nobody can forge one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dotenv import dotenv_values

from instance import USERS, Suite
from keys import RSA_KEY
from local_zitadel import LocalZitadel
from programs import SCRIPTS, eventually, run

SCRIPT = SCRIPTS["service-user-jwt"]
ROUTES = ("/api/private", "/api/private-scoped")


class JWTUser(NamedTuple):
    """A service account that gets JWTs as access tokens, and its key file."""

    id: str
    key_file: Path
    suite: Suite

    def run(self, *options: str, base_url: str = "") -> CompletedProcess[str]:
        """Run the script of service-user-jwt as this user."""
        variables = {"CLIENT_PRIVATE_KEY_FILE_PATH": str(self.key_file), "API_BASE_URL": base_url}
        return run(self.suite.folder / "service-user-jwt", SCRIPT, *options, **variables)

    def token(self) -> str:
        """Return an access token."""
        ended = eventually(lambda: self.run("--token-only"), lambda e: e.stdout.count(".") == 2)
        assert ended.stdout.count(".") == 2, ended.stderr
        return ended.stdout.strip()


@pytest.fixture
def jwt_user(suite: Suite, add_user: Callable[[], str], tmp_path: Path) -> JWTUser:
    """Provide a service account that gets JWTs, without a role."""
    user_id, key_file = add_user(), tmp_path / "key.json"
    kind = {"name": "JWT", "accessTokenType": "ACCESS_TOKEN_TYPE_JWT"}
    suite.zitadel.call(f"/management/v1/users/{user_id}/machine", kind, "PUT")
    suite.zitadel.add_key(user_id, key_file)
    return JWTUser(user_id, key_file, suite)


@pytest.fixture
def project_id(suite: Suite) -> str:
    return str(dotenv_values(suite.folder / "service-user-jwt/.env")["PROJECT_ID"])


def statuses(base_url: str, token: str) -> list[int]:
    headers = {"Authorization": f"Bearer {token}"}
    answers = [requests.get(f"{base_url}{route}", headers=headers, timeout=10) for route in ROUTES]
    return [answer.status_code for answer in answers]


def key_of(suite: Suite, token: str) -> Any:
    """Return the public key that the token names, as ZITADEL shows it."""
    shown = requests.get(f"{suite.zitadel.issuer}/oauth/v2/keys", timeout=30).json()["keys"]
    kid = jwt.get_unverified_header(token)["kid"]
    return next(jwt.PyJWK(key).key for key in shown if key["kid"] == kid)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(["read:messages"], [200, 200]), ([], [200, 403])],
    ids=["role", "no role"],
)
def test_a_jwt_access_token_is_accepted_like_an_opaque_one(
    roles: list[str], expected: list[int], base_url: str, jwt_user: JWTUser, project_id: str
) -> None:
    if roles:
        jwt_user.suite.zitadel.authorize(jwt_user.id, project_id, *roles)

    token = jwt_user.token()
    found = eventually(lambda: statuses(base_url, token), lambda found: found == expected)
    assert found == expected
    assert jwt_user.run(base_url=base_url).returncode == (0 if roles else 1)


def test_a_jwt_access_token_is_signed_with_a_published_key_and_names_its_user(
    jwt_user: JWTUser, project_id: str
) -> None:
    token, issuer = jwt_user.token(), jwt_user.suite.zitadel.issuer
    key = key_of(jwt_user.suite, token)
    claims = jwt.decode(token, key, ["RS256"], audience=project_id, issuer=issuer)
    assert claims["sub"] == jwt_user.id


@pytest.mark.parametrize("call", ["DeactivateUser", "DeleteUser"])
def test_a_jwt_access_token_is_rejected_when_its_user_is_deactivated_or_deleted(
    call: str, base_url: str, jwt_user: JWTUser
) -> None:
    token = jwt_user.token()
    eventually(lambda: statuses(base_url, token), lambda found: found == [200, 403])
    assert statuses(base_url, token) == [200, 403]
    jwt_user.suite.zitadel.call(f"{USERS}/{call}", {"userId": jwt_user.id})
    rejected = [401, 401]
    found = eventually(lambda: statuses(base_url, token), lambda found: found == rejected)
    assert found == rejected
    ended = jwt_user.run("--token-only")
    assert ended.returncode not in (0, 1) and ended.stdout == ""


# Forgeries


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def with_claims(token: str, key: Any, **claims: Any) -> str:
    header, old, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(old + "=="))
    return f"{header}.{part(decoded | claims)}.{signature}"


def with_header(token: str, key: Any, **header: Any) -> str:
    _, claims, signature = token.split(".")
    return f"{part(jwt.get_unverified_header(token) | header)}.{claims}.{signature}"


def by_another_key(token: str, key: Any, **header: Any) -> str:
    header = jwt.get_unverified_header(token) | header
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, RSA_KEY, "RS256", header)


def unsigned(token: str, key: Any) -> str:
    return f"{with_header(token, key, alg='none').rpartition('.')[0]}."


def with_public_key_as_secret(token: str, key: Any) -> str:
    """Sign with HMAC, whose secret is the public key: a verifier that trusts `alg` accepts it."""
    content = with_header(token, key, alg="HS256").rpartition(".")[0]
    secret = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.new(secret, content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


SIGNATURE = "the token isn't signed with key"
FORGERIES: dict[str, tuple[Callable[[str, Any], str], str]] = {
    "signed by another key": (by_another_key, SIGNATURE),
    "signed by another key that it names": (
        lambda token, key: by_another_key(token, key, kid="1"),
        "the token's kid is '1', not",
    ),
    "another key id": (
        lambda token, key: with_header(token, key, kid="x" * 99),
        "the token's kid is a value not shown here, not",
    ),
    "unsigned": (unsigned, "the token's alg is not RS256"),
    "public key as secret": (with_public_key_as_secret, "the token's alg is not RS256"),
    "another user": (lambda token, key: with_claims(token, key, sub="1"), SIGNATURE),
    "a later expiry": (lambda token, key: with_claims(token, key, exp=4e9), SIGNATURE),
    "cut off": (lambda token, key: token[:-9], SIGNATURE),
    "not JSON": (lambda token, key: f"x{token}", "can't be read as one"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_jwt_access_token_is_rejected(
    forgery: str, base_url: str, jwt_user: JWTUser
) -> None:
    token = jwt_user.token()
    eventually(lambda: statuses(base_url, token), lambda found: found == [200, 403])
    forge, _ = FORGERIES[forgery]
    assert statuses(base_url, forge(token, key_of(jwt_user.suite, token))) == [401, 401]
    assert statuses(base_url, token) == [200, 403]


@pytest.mark.local_zitadel
@pytest.mark.parametrize("forgery", FORGERIES)
def test_local_zitadel_logs_what_is_wrong_with_a_forged_jwt(
    forgery: str, base_url: str, jwt_user: JWTUser
) -> None:
    zitadel, token = jwt_user.suite.zitadel, jwt_user.token()
    assert isinstance(zitadel, LocalZitadel)
    forge, reason = FORGERIES[forgery]
    before = len(zitadel.log())
    assert statuses(base_url, forge(token, key_of(jwt_user.suite, token))) == [401, 401]
    log = zitadel.log()[before:]
    assert log.count("introspection: inactive, ") == log.count(reason) == 2
    assert "Traceback" not in log and "eyJ" not in log and "xxx" not in log
