"""diagnose.py on active tokens: a missing role, the expiry, answers that an API can't use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagnosing import ACCEPTED, claims, diagnose, problem, problems, project_of
from instance import Suite
from programs import eventually
from servers import ROLES, Upstream


def test_a_missing_role_is_reported(suite: Suite, add_user: Callable[[], str]) -> None:
    token = suite.zitadel.add_pat(add_user())
    told = eventually(
        lambda: problems(diagnose(suite.folder / "api-jwt", token=token))[0],
        lambda text: "role" in text,
    )
    assert told == (
        "The token is without the role read:messages (all of its roles here: none). Assign it in "
        f"ZITADEL's console, in the project {project_of(suite)} under Role Assignments (until 4.9: "
        "Authorizations); it takes effect immediately."
    )
    told = problem(suite.folder / "api-jwt", "--role", "admin")
    organization = suite.zitadel.organization_id()
    assert f"roles here: read:messages through organization {organization})" in told


def test_a_role_scope_that_hides_other_roles_is_reported(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    scope = "openid urn:zitadel:iam:org:project:role:other"
    upstream.answer(claims(scope=scope, **{ROLES: {}}))
    told = problem(folder, token="abc")
    assert "was requested with urn:zitadel:iam:org:project:role:other, which hides all" in told
    assert "request it without role scopes. If its user doesn't have it: assign it" in told
    assert "hides" not in problem(folder, "--role", "other", token="abc")
    personal = claims(scope=scope, aud=["5", "6"], **{ROLES: {}})
    del personal["client_id"]
    upstream.answer(personal)
    told = problem(folder, token="abc")
    assert "hides" not in told and "in the project 6 under" in told


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["5", "6"]},
        {"aud": ["6"], "client_id": None},
        {"aud": ["6", "7"], "client_id": None},
    ],
)
def test_an_audience_does_not_always_reveal_the_project(
    changes: dict[str, Any], scripted_api: tuple[Upstream, Path]
) -> None:
    answer = claims(**changes)
    scripted_api[0].answer({name: value for name, value in answer.items() if value is not None})
    lines = diagnose(scripted_api[1], token="abc", status=0)
    assert "belongs to the project" not in str(lines)


def test_a_token_in_zitadels_answer_is_not_printed(scripted_api: tuple[Upstream, Path]) -> None:
    scripted_api[0].answer(claims(sub="\x1b[1m a-long-token"))
    lines = diagnose(scripted_api[1], token="a-long-token", status=0)
    assert r"its user is \x1b[1m …." in " ".join(lines)


def test_roles_are_printed_with_their_organizations(scripted_api: tuple[Upstream, Path]) -> None:
    lines = diagnose(scripted_api[1], token="abc", status=0)
    shown = "read:messages (all of its roles here: read:messages through organization 12, 13)"
    assert f"ok       Its user has the role {shown}." in lines


@pytest.mark.parametrize(
    ("exp", "told"),
    [
        (253402300799, "ok       It never expires."),
        (4102444800, "ok       It expires at 2100-01-01 00:00:00 UTC."),
        (None, "note     ZITADEL doesn't say when it expires; the API accepts that."),
    ],
)
def test_the_expiry_is_printed(
    exp: int | None, told: str, scripted_api: tuple[Upstream, Path]
) -> None:
    answer = {name: value for name, value in claims(exp=exp).items() if value is not None}
    scripted_api[0].answer(answer)
    lines = diagnose(scripted_api[1], token="abc", status=0)
    assert told in lines and ACCEPTED in lines


@pytest.mark.parametrize(
    ("exp", "told"), [("soon", "is not a number. The API rejects it"), (5, "Set the clock")]
)
def test_an_expiry_that_the_api_rejects_is_reported(
    exp: object, told: str, scripted_api: tuple[Upstream, Path]
) -> None:
    scripted_api[0].answer(claims(exp=exp))
    assert told in problem(scripted_api[1], token="abc")


def test_an_answer_that_the_api_cannot_use_is_reported(scripted_api: tuple[Upstream, Path]) -> None:
    upstream, folder = scripted_api
    content: Callable[[dict[str, str]], object] = lambda form: (  # noqa: E731
        claims(scope="a" * (1_000_000 if form["token"] == "abc" else 1))
    )
    upstream.answer(content)
    told = problem(folder, token="abc")
    assert "answer about the token is larger than the API reads" in told and "scopes" in told
    upstream.answer(lambda form: {} if form["token"] == "abc" else claims())
    assert "ZITADEL can't tell (status 200). Try again" in problem(folder, token="abc")


def test_a_gateways_answer_is_not_mistaken_for_zitadels(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    upstream.answer(b"<html>Forbidden</html>", 403, headers={"Content-Type": "text/html"})
    told = problem(folder, token="abc")
    assert "not as ZITADEL does (text/html): a proxy, gateway or firewall" in told
    assert "credentials" not in told and "deactivated" not in told
