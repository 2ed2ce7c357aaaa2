"""The runner of the recorded cases notices every kind of difference."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import pytest

import contract as contract_module
from contract import Contract
from local_zitadel import LocalZitadel
from recorded import BY_ID


def failure(contract: Contract, case: dict[str, Any]) -> str:
    with pytest.raises(AssertionError) as caught:
        contract.run(case)
    return str(caught.value)


@pytest.fixture
def active(replayed: tuple[LocalZitadel, Contract]) -> tuple[Contract, dict[str, Any]]:
    """Provide a run through the cases, and a case that passes unchanged."""
    contract, case = replayed[1], deepcopy(BY_ID["introspect/basic/client-credentials-token"])
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


def test_the_runner_catches_an_unrecorded_key(active: tuple[Contract, dict[str, Any]]) -> None:
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


def test_the_runner_catches_a_placeholder_without_a_value(
    active: tuple[Contract, dict[str, Any]],
) -> None:
    contract, case = active
    case["binds"] = {"NOTHING": "no.such.key"}
    assert "nothing to bind NOTHING to at no.such.key" in failure(contract, case)
    case["request"]["form"]["token"] = "{NOTHING}"
    assert "{NOTHING} is not bound" in failure(contract, case)


def test_only_a_real_zitadel_may_answer_like_an_older_one(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
    case = deepcopy(BY_ID["token/jwt-profile/expired"])
    case["response"], case["older"] = case["older"], case["response"]
    assert "status 400, recorded 500" in failure(contract, case)
    given = Contract(server.issuer, server.admin_pat, wait=True)
    given.names = contract.names
    given.run(case)
    case["older"]["status"] = 401
    assert "status 400, recorded 500" in failure(given, case)


@pytest.mark.parametrize(("token", "name"), [("ADMIN_PAT", "AddMoon"), ("PAT", "CreateUser")])
def test_what_cannot_be_deleted_is_reported(
    token: str,
    name: str,
    replayed: tuple[LocalZitadel, Contract],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, contract = replayed
    monkeypatch.setitem(contract_module.CREATED, "AddMoon", ("id", "/moon/Delete", "id"))
    other = Contract(server.issuer, contract.names[token])
    other.created = [(name, "1")]
    with pytest.warns(UserWarning, match=f"What {name} created in .+ remains, 1: "):
        other.clean_up()


def test_what_is_already_deleted_is_not_reported(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    other = Contract(replayed[0].issuer, replayed[0].admin_pat)
    other.created = [(name, "1") for name in contract_module.CREATED]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.clean_up()
