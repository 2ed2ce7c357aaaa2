"""diagnose.py on tokens that ZITADEL calls inactive: wrong project, expired, removed, cut off."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from dotenv import dotenv_values

from diagnosing import (
    ACCEPTED,
    BASIC,
    FIRST,
    GONE,
    JWT_USER,
    NO_PAT,
    PAT_USER,
    PERSONAL,
    diagnose,
    problem,
    problems,
    project_of,
    token_of,
)
from instance import USERS, Suite
from programs import APIS, eventually
from servers import Upstream


@pytest.mark.parametrize("api", APIS)
def test_another_projects_id_is_named_as_the_cause(api: str, suite: Suite) -> None:
    token, project = token_of(suite, JWT_USER, PROJECT_ID="7"), project_of(suite)
    told = problem(suite.folder / api, token=token, PROJECT_ID="7")
    assert told == (
        "ZITADEL says that the token isn't active for this API. PROJECT_ID in the environment "
        "isn't that project. If it is an access token, the most "
        f"likely cause first: it was requested without the scope urn:zitadel:iam:org:project:id:"
        f"{project}:aud with the id of the API's project; it has expired; it wasn't copied "
        f"whole; it was revoked; {GONE} If it is "
        f"a personal access token, {FIRST}: {PERSONAL}"
    )
    right = problem(suite.folder / api, token=token)
    assert right == told.replace("PROJECT_ID in the environment isn't that project. ", "")


@pytest.mark.parametrize("place", ["PROJECT_ID in the environment", "--project-id"])
def test_a_personal_access_token_reveals_a_wrong_project_id(place: str, suite: Suite) -> None:
    options = ("--project-id", "8")
    lines = diagnose(suite.folder / "api-jwt", *options, status=0, PROJECT_ID="7")
    told = f"note     {place} isn't that project: tokens for it aren't active for this API."
    assert told in lines


def test_an_unknown_project_is_asked_for(suite: Suite) -> None:
    token = token_of(suite, JWT_USER, PROJECT_ID="7")
    told = problem(suite.folder / "api-jwt", token=token, PROJECT_ID="7", **NO_PAT)
    assert "urn:zitadel:iam:org:project:id:PROJECT:aud with the id of the API's project" in told
    assert "compare PROJECT_ID with it, and pass it as --project-id." in told
    options = ("--project-id", "8")
    told = problem(suite.folder / "api-jwt", *options, token=token, PROJECT_ID="7", **NO_PAT)
    assert (
        "project:id:8:aud with the id of the API's project" in told and "isn't that project" in told
    )


def test_a_truncated_personal_access_token_is_recognized(suite: Suite) -> None:
    pat = str(dotenv_values(suite.folder / PAT_USER / ".env")["PERSONAL_ACCESS_TOKEN"])
    told = problem(suite.folder / "api-jwt", token=pat[:-5])
    assert (
        "It is only a part of the PERSONAL_ACCESS_TOKEN in " in told
        and f"{PAT_USER}/.env: copy it whole" in told
    )
    told = problem(suite.folder / "api-jwt", PERSONAL_ACCESS_TOKEN=pat[:-5])
    assert f"the most likely cause first: {PERSONAL} Create one" in told


@pytest.mark.parametrize("cause", ["expired", "removed", "user deactivated", "user deleted"])
def test_every_cause_of_an_inactive_personal_access_token_is_named(
    cause: str, suite: Suite, add_user: Callable[[], str]
) -> None:
    zitadel, user = suite.zitadel, add_user()
    content = {"userId": user, "expirationDate": "2090-01-01T00:00:00Z"}
    if cause == "expired":
        seconds = time.gmtime(time.time() + 3)
        content["expirationDate"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", seconds)
    created = zitadel.call(f"{USERS}/AddPersonalAccessToken", content)
    if cause == "expired":
        time.sleep(4)
    elif cause == "removed":
        content = {"userId": user, "tokenId": created["tokenId"]}
        zitadel.call(f"{USERS}/RemovePersonalAccessToken", content)
    elif cause == "user deactivated":
        zitadel.call(f"{USERS}/DeactivateUser", {"userId": user})
    else:
        zitadel.delete_user(user)
    token = created["token"]
    told = eventually(
        lambda: " ".join(problems(diagnose(suite.folder / BASIC, token=token))),
        lambda text: "active" in text,
    )
    assert f"If it is a personal access token, the most likely cause first: {PERSONAL}" in told
    assert f"id:{project_of(suite)}:aud with the id of the API's project" in told
    told = problem(suite.folder / BASIC, PERSONAL_ACCESS_TOKEN=token)
    assert (
        f"As a personal access token, the most likely cause first: {PERSONAL}" in told
        and "scope" not in told
    )


def test_a_token_of_another_zitadel_is_named_as_a_cause(suite: Suite, upstream: Upstream) -> None:
    upstream.answer({"access_token": "from-another-zitadel", "expires_in": 60})
    url = upstream.base_url + "/oauth/v2/token"
    token = token_of(suite, JWT_USER, ZITADEL_TOKEN_URL=url)
    told = problem(suite.folder / "api-jwt", token=token)
    assert told.count("another ZITADEL issued it") == 2


@pytest.mark.parametrize("token", ["Bearer abc", '"abc"', "abc def", "abc\ndef", "\u00e4", "a,b"])
def test_characters_that_no_token_can_contain_are_reported(token: str, suite: Suite) -> None:
    told = problem(suite.folder / "api-jwt", token=token)
    assert "contains characters that no token can contain" in told
    assert ("begins with the word Bearer" in told) == token.startswith("Bearer")


def test_a_byte_order_mark_before_the_token_is_ignored(suite: Suite) -> None:
    token = "\ufeff" + token_of(suite, JWT_USER) + "\r\n"
    assert ACCEPTED in diagnose(suite.folder / "api-jwt", token=token.encode(), status=0)
