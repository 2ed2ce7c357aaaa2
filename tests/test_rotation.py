"""New credentials without downtime, as the README's table says, tried against local-zitadel."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values, set_key

from instance import USERS, Suite
from programs import APIS, SCRIPTS, run_here, running_api
from servers import bearer, send

pytestmark = pytest.mark.local_zitadel
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
END = {"expirationDate": "2090-01-01T00:00:00Z"}
JWT_USER, SECRET_USER, PAT_USER = SCRIPTS


class Console:
    """What a person does in ZITADEL's console, and a copy of the folders."""

    def __init__(self, suite: Suite, folder: Path) -> None:
        self.folder = Path(shutil.copytree(suite.folder, folder))
        self.suite = suite
        self.project = self.env(JWT_USER)["PROJECT_ID"]

    def env(self, name: str) -> dict[str, str | None]:
        return dotenv_values(self.folder / name / ".env")

    def call(self, service: str, method: str, /, **fields: Any) -> dict[str, Any]:
        return self.suite.zitadel.call(f"{service}/{method}", fields)

    def application(self, name: str) -> str:
        filters = [{"projectIdFilter": {"projectId": self.project}}]
        listed = self.call(APPLICATIONS, "ListApplications", filters=filters)["applications"]
        return str(next(found["applicationId"] for found in listed if found["name"] == name))

    def set_new_api(self, folder: Path, name: str) -> dict[str, str]:
        """Create another API with a secret, name it in the folder's .env, and return its ids."""
        made = self.call(
            APPLICATIONS,
            "CreateApplication",
            projectId=self.project,
            name=name,
            apiConfiguration={"authMethodType": "API_AUTH_METHOD_TYPE_BASIC"},
        )
        for variable, key in (("API_CLIENT_ID", "clientId"), ("API_CLIENT_SECRET", "clientSecret")):
            set_key(folder / ".env", variable, made["apiConfiguration"][key])
        return {"projectId": str(self.project), "applicationId": made["applicationId"]}

    def user(self, name: str) -> str:
        username = f"{name}-{self.project}"
        query = {"userName": username, "method": "TEXT_QUERY_METHOD_EQUALS"}
        listed = self.call(USERS, "ListUsers", queries=[{"userNameQuery": query}])
        return str(listed["result"][0]["userId"])

    def works(self, base_url: str, name: str = PAT_USER) -> bool:
        return run_here(self.folder / name, SCRIPTS[name], API_BASE_URL=base_url).returncode == 0


@pytest.fixture
def console(suite: Suite, tmp_path: Path) -> Console:
    return Console(suite, tmp_path / "suite")


def test_an_apis_key_is_replaced_while_the_old_one_still_works(console: Console) -> None:
    api = console.folder / "api-jwt"
    application = {"projectId": console.project, "applicationId": console.application("api-jwt")}
    with running_api(api) as before:
        assert console.works(before)
        made = console.call(APPLICATIONS, "CreateApplicationKey", **application, **END)
        (api / "api-key-file.json").write_bytes(base64.b64decode(made["keyDetails"]))
        with running_api(api) as after:
            assert console.works(before) and console.works(after)


def test_an_apis_secret_is_replaced_by_a_second_api_of_the_same_project(console: Console) -> None:
    api = console.folder / "api-basic-authentication"
    with running_api(api) as before:
        assert console.works(before, SECRET_USER)
        application = console.set_new_api(api, "its successor")
        with running_api(api) as after:
            for name in SCRIPTS:
                assert console.works(before, name) and console.works(after, name)
            console.call(APPLICATIONS, "DeleteApplication", **application)
            assert console.works(before) and not console.works(after)


def test_an_apis_new_secret_invalidates_the_old_one_immediately(console: Console) -> None:
    api = console.folder / "api-basic-authentication"
    application = console.set_new_api(api, "with two secrets")
    with running_api(api) as base_url:
        assert console.works(base_url)
        console.call(APPLICATIONS, "GenerateClientSecret", **application)
        assert not console.works(base_url)


def test_a_service_accounts_key_is_replaced_while_the_old_one_still_works(console: Console) -> None:
    folder = console.folder / JWT_USER
    user = console.user(JWT_USER)
    old = shutil.copytree(folder, console.folder / "old")
    made = console.call(USERS, "AddKey", userId=user, **END)
    (folder / "client-key-file.json").write_bytes(base64.b64decode(made["keyContent"]))
    for place in (folder, Path(old)):
        assert run_here(place, SCRIPTS[JWT_USER], "--token-only").returncode == 0
    console.call(USERS, "RemoveKey", userId=user, keyId=made["keyId"])
    assert run_here(folder, SCRIPTS[JWT_USER], "--token-only").returncode == 4
    assert run_here(Path(old), SCRIPTS[JWT_USER], "--token-only").returncode == 0


def test_after_a_service_accounts_new_secret_its_tokens_stay_valid(console: Console) -> None:
    name = "with-two-secrets"
    user = console.suite.zitadel.add_user(name)
    first = console.call(USERS, "AddSecret", userId=user)["clientSecret"]
    folder = console.folder / SECRET_USER
    token = run_here(
        folder, SCRIPTS[SECRET_USER], "--token-only", CLIENT_ID=name, CLIENT_SECRET=first
    )
    assert token.returncode == 0
    second = console.call(USERS, "AddSecret", userId=user)["clientSecret"]
    for secret, status in ((first, 4), (second, 0)):
        command = (SCRIPTS[SECRET_USER], "--token-only")
        assert run_here(folder, *command, CLIENT_ID=name, CLIENT_SECRET=secret).returncode == status
    with running_api(console.folder / APIS[0]) as base_url:
        assert send(base_url, "/api/private", bearer(token.stdout.strip()))[0] == 200


def test_a_second_personal_access_token_works_beside_the_first(console: Console) -> None:
    user = console.user(PAT_USER)
    made = console.call(USERS, "AddPersonalAccessToken", userId=user, **END)
    with running_api(console.folder / APIS[0]) as base_url:
        for token in (made["token"], console.env(PAT_USER)["PERSONAL_ACCESS_TOKEN"]):
            assert send(base_url, "/api/private", bearer(token))[0] == 200
        console.call(USERS, "RemovePersonalAccessToken", userId=user, tokenId=made["tokenId"])
        assert console.works(base_url)
