"""The ZITADEL that the tests run against, and the calls that they make as its administrator."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

USERS = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
LAG_SECONDS = 15
FAR_END = "2090-01-01T00:00:00Z"
Json = dict[str, Any]


@dataclass
class Instance:
    """A ZITADEL, and a personal access token of an administrator of it."""

    issuer: str
    admin_pat: str
    token_file: Path

    def call(self, path: str, content: Json | None = None, method: str = "POST") -> Json:
        """Return the answer; what ZITADEL may not know yet, since it is new, is waited for."""
        end = time.monotonic() + LAG_SECONDS
        headers = {"Authorization": f"Bearer {self.admin_pat}"}
        while True:
            answer = requests.request(
                method, f"{self.issuer}{path}", json=content, headers=headers, timeout=30
            )
            if answer.status_code == 200:
                return dict(answer.json())
            code = answer.json().get("code")
            if code not in ("not_found", "failed_precondition") or time.monotonic() > end:
                raise AssertionError(f"{path}: status {answer.status_code}, {answer.text}")
            time.sleep(0.5)

    def organization_id(self) -> str:
        """Return the id of the administrator's organization."""
        return str(self.call("/management/v1/orgs/me", method="GET")["org"]["id"])

    def add_user(self, username: str) -> str:
        """Make a service user and return its id."""
        machine = {"machine": {"name": username}}
        content = {"organizationId": self.organization_id(), "username": username, **machine}
        return str(self.call(f"{USERS}/CreateUser", content)["id"])

    def add_key(self, user_id: str, file: Path) -> None:
        """Make a key for the service user and write its key file."""
        content = {"userId": user_id, "expirationDate": FAR_END}
        file.write_bytes(base64.b64decode(self.call(f"{USERS}/AddKey", content)["keyContent"]))

    def add_pat(self, user_id: str) -> str:
        """Return a new personal access token of the service user."""
        content = {"userId": user_id, "expirationDate": FAR_END}
        return str(self.call(f"{USERS}/AddPersonalAccessToken", content)["token"])

    def authorize(self, user_id: str, project_id: str, *roles: str) -> None:
        """Give the service user roles in the project."""
        content = {"userId": user_id, "projectId": project_id, "roleKeys": roles}
        content["organizationId"] = self.organization_id()
        self.call(f"{AUTHORIZATIONS}/CreateAuthorization", content)

    def delete_user(self, user_id: str) -> None:
        """Delete the service user, if it is still there."""
        answer = requests.post(
            f"{self.issuer}{USERS}/DeleteUser",
            json={"userId": user_id},
            headers={"Authorization": f"Bearer {self.admin_pat}"},
            timeout=30,
        )
        assert answer.status_code in (200, 404), f"{user_id} is left: {answer.text}"
