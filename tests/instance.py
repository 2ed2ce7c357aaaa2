"""The ZITADEL that the tests run against, and what they do there as its administrator."""

from __future__ import annotations

import base64
import secrets
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import requests

from contract import is_gone
from programs import LAG_SECONDS, ROOT, SCRIPTS, run

PROJECTS = "/zitadel.project.v2.ProjectService"
USERS = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
LIST_SECONDS = 3  # after which a real ZITADEL lists what was created
FAR_END = "2090-01-01T00:00:00Z"
Json = dict[str, Any]


@dataclass
class Instance:
    """A ZITADEL, and a personal access token of an administrator of it."""

    issuer: str
    admin_pat: str
    token_file: Path
    lags: ClassVar[bool] = True

    def call(self, path: str, content: Json | None = None, method: str = "POST") -> Json:
        """Return the answer; wait for new things, which ZITADEL may not know yet."""
        end = time.monotonic() + LAG_SECONDS
        while True:
            answer = self._send(path, content, method)
            if answer.status_code == 200:
                return dict(answer.json())
            code = answer.json().get("code")
            if code not in ("not_found", "failed_precondition") or time.monotonic() > end:
                raise AssertionError(f"{path}: status {answer.status_code}, {answer.text}")
            time.sleep(0.5)

    def _send(self, path: str, content: Json | None, method: str = "POST") -> requests.Response:
        headers = {"Authorization": f"Bearer {self.admin_pat}"}
        url, no_netrc = f"{self.issuer}{path}", lambda request: request
        return requests.request(
            method, url, json=content, headers=headers, auth=no_netrc, timeout=30
        )

    def organization_id(self) -> str:
        """Return the id of the administrator's organization."""
        return str(self.call("/management/v1/orgs/me", method="GET")["org"]["id"])

    def add_user(self, username: str) -> str:
        """Create a service account and return its id."""
        machine = {"machine": {"name": username}}
        content = {"organizationId": self.organization_id(), "username": username, **machine}
        return str(self.call(f"{USERS}/CreateUser", content)["id"])

    def add_key(self, user_id: str, file: Path) -> None:
        """Create a key for the service account and write its key file."""
        content = {"userId": user_id, "expirationDate": FAR_END}
        file.write_bytes(base64.b64decode(self.call(f"{USERS}/AddKey", content)["keyContent"]))

    def add_pat(self, user_id: str) -> str:
        """Return a new personal access token of the service account."""
        content = {"userId": user_id, "expirationDate": FAR_END}
        return str(self.call(f"{USERS}/AddPersonalAccessToken", content)["token"])

    def authorize(self, user_id: str, project_id: str, *roles: str) -> None:
        """Assign the service account roles in the project."""
        content = {"userId": user_id, "projectId": project_id, "roleKeys": roles}
        content["organizationId"] = self.organization_id()
        self.call(f"{AUTHORIZATIONS}/CreateAuthorization", content)

    def delete_user(self, user_id: str) -> None:
        """Delete the service account, if it still exists."""
        answer = self._send(f"{USERS}/DeleteUser", {"userId": user_id})
        assert is_gone(answer), f"user {user_id} remains: {answer.text}"

    def provision(self, directory: Path, project: str, *options: str) -> None:
        """Run provision.py."""
        command = ["provision.py", "--domain", self.issuer, "--token-file", str(self.token_file)]
        command += ["--directory", str(directory), "--project-name", project]
        ended = run(ROOT, *command, *options)
        assert ended.returncode == 0, f"{project}: {ended.stdout}{ended.stderr}"

    def is_listed(self, project: str) -> bool:
        """Return whether what provision.py creates is in ZITADEL's lists, the last things too."""
        query = {"projectName": project, "method": "TEXT_FILTER_METHOD_EQUALS"}
        body = {"filters": [{"projectNameFilter": query}]}
        projects = self.call(f"{PROJECTS}/ListProjects", body).get("projects", [])
        names = [f"{folder}-{one['projectId']}" for one in projects for folder in SCRIPTS]
        queries = [{"userName": name, "method": "TEXT_QUERY_METHOD_EQUALS"} for name in names]
        answers = [
            self.call(f"{USERS}/ListUsers", {"queries": [{"userNameQuery": query}]})
            for query in queries
        ]
        return bool(projects) and all("result" in answer for answer in answers)

    @contextmanager
    def new_project(self, directory: Path) -> Iterator[str]:
        """Yield a new project's name; finally delete all that provision.py created under it."""
        name = new_name()
        try:
            yield name
        finally:
            end = time.monotonic() + LIST_SECONDS
            while self.lags and not self.is_listed(name) and time.monotonic() < end:
                time.sleep(0.2)  # or provision.py wouldn't find what is new
            self.provision(directory, name, "--delete", "--yes", "--use-existing-project")


class Suite(NamedTuple):
    """The five folders, copied out and provisioned, and the project and ZITADEL they belong to."""

    zitadel: Instance
    folder: Path
    project: str


def new_name() -> str:
    """Return a name that nothing else has."""
    return "tests-" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))
