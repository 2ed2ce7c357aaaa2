"""diagnose.py reads what a JWT says about itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagnosing import (
    BASIC,
    DEAD,
    FIRST,
    JWT_USER,
    NO_PAT,
    diagnose,
    problem,
    problems,
    project_of,
    signed,
    token_of,
)
from instance import Suite
from programs import APIS


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, f"As a JWT, {FIRST}: it was revoked; {DEAD} undone; or it was"),
        ({"aud": ["7"]}, "['7'] contains neither this API nor its project {project}: request"),
        ({"aud": "7"}, "urn:zitadel:iam:org:project:id:{project}:aud (see PROJECT_ID)."),
        ({"iss": "https://a.b"}, "https://a.b issued it, not {issuer}: check the client's"),
        ({"exp": 1}, "It expired at 1970-01-01 00:00:01 UTC: get a new one."),
        ({"jti": None}, "It looks like an id_token: send the access_token of the same answer."),
        ({"aud": "{issuer}"}, "It is an assertion: send it to ZITADEL's token endpoint"),
        ({"iss": "\x1b[1m"}, r"\x1b[1m issued it"),
    ],
)
def test_the_claims_of_a_jwt_explain_why_it_is_inactive(
    changed: dict[str, Any], told: str, suite: Suite
) -> None:
    issuer, project = suite.zitadel.issuer, project_of(suite)
    claims = {"iss": issuer, "aud": [project], "exp": time.time() + 60, "jti": "1", "sub": "2"}
    claims |= changed
    if claims["aud"] == "{issuer}":
        claims["aud"] = issuer
    lines = diagnose(suite.folder / "api-jwt", token=signed(claims), PROJECT_ID="7")
    assert told.format(issuer=issuer, project=project) in problems(lines)[0]


def test_a_jwt_and_project_id_of_the_same_wrong_project_do_not_prove_it_right(suite: Suite) -> None:
    claims = {"iss": suite.zitadel.issuer, "aud": ["7"], "jti": "1"}
    told = problem(suite.folder / BASIC, token=signed(claims), PROJECT_ID="7", **NO_PAT)
    assert "As a JWT, the most likely cause first: it was requested without the scope" in told
    assert "Its audience is ['7']. Which project this API belongs to isn't known here" in told


@pytest.mark.parametrize("api", APIS)
def test_the_audience_of_a_jwt_is_compared_with_the_project(
    api: str, suite: Suite, add_user: Callable[[], str], tmp_path: Path
) -> None:
    user_id, key_file = add_user(), tmp_path / "key.json"
    kind = {"name": "JWT", "accessTokenType": "ACCESS_TOKEN_TYPE_JWT"}
    suite.zitadel.call(f"/management/v1/users/{user_id}/machine", kind, "PUT")
    suite.zitadel.add_key(user_id, key_file)
    variables = {"CLIENT_PRIVATE_KEY_FILE_PATH": str(key_file)}
    token = token_of(suite, JWT_USER, **variables, PROJECT_ID="7")
    told = problem(suite.folder / api, token=token, PROJECT_ID="7")
    audience = f"Its audience ['7'] contains neither this API nor its project {project_of(suite)}"
    assert audience in told and told.count(". ") == 1
    assert "is without the role" in problem(
        suite.folder / api, token=token_of(suite, JWT_USER, **variables)
    )


@pytest.mark.parametrize("token", ["a.b.c", "a.b", "..", "e30.e30.x", "W10.W10.x"])
def test_an_opaque_token_with_dots_is_not_read_as_a_jwt(token: str, suite: Suite) -> None:
    assert "If it is an access token" in problem(suite.folder / "api-jwt", token=token)
