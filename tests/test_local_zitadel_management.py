"""local-zitadel when accounts, secrets, roles and organizations change."""

from __future__ import annotations

import pytest
import requests

from contract import Contract
from instance import USERS, new_name
from local_zitadel import LocalZitadel
from recorded import BY_ID, BY_SECRET, changed
from servers import ROLES


def test_a_deactivated_account_has_no_access(replayed: tuple[LocalZitadel, Contract]) -> None:
    server, contract = replayed
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
def test_a_malformed_change_to_an_account_is_rejected(
    replayed: tuple[LocalZitadel, Contract], body: bytes
) -> None:
    server, contract = replayed
    url = f"{server.issuer}/management/v1/users/{contract.names['CC_USER']}/machine"
    headers = {"Authorization": f"Bearer {server.admin_pat}"}
    answer = requests.put(url, data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    ("identifier", "role", "code"),
    [("1", "read:messages", "not_found"), ("{JWT_AUTHORIZATION}", "no", "failed_precondition")],
)
def test_only_existing_roles_can_be_assigned(
    replayed: tuple[LocalZitadel, Contract], identifier: str, role: str, code: str
) -> None:
    request = changed("provision/update-authorization", "json", to={"id": identifier})
    request["json"]["roleKeys"] = [role]
    assert replayed[1].send(request).json()["code"] == code


def test_a_new_secret_invalidates_the_previous_one(replayed: tuple[LocalZitadel, Contract]) -> None:
    contract = replayed[1]
    old = contract.names["ODD_SECRET"]
    contract.run(BY_ID["provision/add-secret-odd-user"])
    assert contract.names["ODD_SECRET"] != old
    contract.run(BY_ID["token/client-credentials/reserved-characters-encoded"])
    request = BY_ID["token/client-credentials/reserved-characters-encoded"]["request"]
    contract.names["ODD_SECRET"] = old
    assert contract.send(request).status_code == 400


def test_another_organization_can_assign_roles_of_a_granted_project(
    replayed: tuple[LocalZitadel, Contract],
) -> None:
    server, contract = replayed
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
