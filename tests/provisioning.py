"""Run provision.py for a test, in this process: starting Python takes longer than the run."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from dotenv import dotenv_values

from instance import AUTHORIZATIONS, USERS, Instance
from programs import APIS, SCRIPTS, environment
from servers import ROLES

FOLDERS = (*APIS, *SCRIPTS)
IGNORED = {f"{folder}/.gitignore" for folder in FOLDERS}
FILES = IGNORED | {
    "api-jwt/.env",
    "api-jwt/api-key-file.json",
    "api-basic-authentication/.env",
    "service-user-jwt/.env",
    "service-user-jwt/client-key-file.json",
    "service-user-client-credentials/.env",
    "service-user-pat/.env",
}
SECRETS = ("API_CLIENT_SECRET", "CLIENT_SECRET", "PERSONAL_ACCESS_TOKEN")
TOKEN = "x0Pq-_7" * 10  # of the length and the characters of a personal access token
ORGANIZATION = "/management/v1/orgs/me"
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
CLIENT = "service-user-client-credentials"

provision = importlib.import_module("provision")


def in_process(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run provision.py in this process; return its exit status and what it printed."""
    output = io.StringIO()
    with (
        patch.dict(os.environ, environment(**variables), clear=True),
        patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        try:
            status = provision.main(list(arguments))
        except SystemExit as ended:  # of argparse
            status = ended.code
    return status, output.getvalue()


@dataclass
class Setup:
    """A ZITADEL, the name of a project in it, and an empty directory for the five folders."""

    domain: str
    token_file: Path
    directory: Path
    project: str = "Quotes"

    def options(self, *options: str, domain: str | None = None) -> list[str]:
        """Return what a person would type behind `python provision.py`."""
        command = ["--domain", domain or self.domain, "--token-file", str(self.token_file)]
        command += ["--directory", str(self.directory)]
        if self.project != "Quotes":
            command += ["--project-name", self.project]
        return [*command, *options]

    def run(
        self, *options: str, status: int = 0, domain: str | None = None, **variables: str
    ) -> str:
        """Run provision.py, check its exit status, and return what it printed."""
        __tracebackhide__ = True
        code, output = in_process(*self.options(*options, domain=domain), **variables)
        assert code == status, output
        self.check_no_secret_in(output)
        return output

    def check_no_secret_in(self, output: str) -> None:
        """Check that neither the administrator's token nor anything in the files was printed."""
        secrets = [self.token_file.read_text().strip()] if os.path.exists(self.token_file) else []
        for file in self.directory.rglob(".env*"):
            values = dotenv_values(file, interpolate=False)
            secrets += [values[name] or "" for name in SECRETS if values.get(name)]
        assert "PRIVATE KEY" not in output
        assert not [secret for secret in secrets if len(secret) > 8 and secret in output]

    def contents(self) -> dict[str, bytes]:
        """Return every file in the directory."""
        files = (file for file in self.directory.rglob("*") if file.is_file())
        return {file.relative_to(self.directory).as_posix(): file.read_bytes() for file in files}

    def check_no_file_is_half_written(self) -> None:
        """Check that each file is whole; the temporary one of a killed run doesn't count."""
        for file in self.directory.rglob("*"):
            if file.is_file() and not file.name.startswith(".provision-"):
                text = file.read_text()
                assert text.endswith("\n") or json.loads(text)

    def env(self, folder: str) -> dict[str, str | None]:
        """Return the values of the folder's .env."""
        return dotenv_values(self.directory / folder / ".env", interpolate=False)

    def roles(self) -> set[str]:
        """Return the roles that the API sees for the personal access token."""
        api = self.env("api-basic-authentication")
        answer = requests.post(
            f"{self.domain}/oauth/v2/introspect",
            data={"token": self.env("service-user-pat")["PERSONAL_ACCESS_TOKEN"]},
            auth=(str(api["API_CLIENT_ID"]), str(api["API_CLIENT_SECRET"])),
            timeout=30,
        )
        return set(answer.json()[ROLES])

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file by hand."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


class Contents:
    """What the project of a setup contains in ZITADEL, as the administrator sees it."""

    def __init__(self, instance: Instance, setup: Setup) -> None:
        self.instance = instance
        self.project_id = str(setup.env(CLIENT)["PROJECT_ID"])
        self.organization_id = instance.organization_id()

    def application(self, name: str) -> dict[str, Any]:
        """Return an application as ZITADEL lists it."""
        filters = [{"projectIdFilter": {"projectId": self.project_id}}]
        listed = self.instance.call(f"{APPLICATIONS}/ListApplications", {"filters": filters})
        return next(one for one in listed["applications"] if one["name"] == name)

    def account(self, folder: str) -> dict[str, Any]:
        """Return a service account as ZITADEL lists it."""
        name = f"{folder}-{self.project_id}"
        query = {"userName": name, "method": "TEXT_QUERY_METHOD_EQUALS"}
        body = {"queries": [{"userNameQuery": query}]}
        listed = self.instance.call(f"{USERS}/ListUsers", body)["result"]
        return next(one for one in listed if one["username"] == name)

    def assignment(self, folder: str) -> dict[str, Any]:
        """Return a role assignment as ZITADEL lists it."""
        filters = [
            {"projectId": {"id": self.project_id}},
            {"inUserIds": {"ids": [self.account(folder)["userId"]]}},
        ]
        path = f"{AUTHORIZATIONS}/ListAuthorizations"
        (listed,) = self.instance.call(path, {"filters": filters})["authorizations"]
        return dict(listed)


def lines(output: str, word: str) -> list[str]:
    """Return what the lines that begin with `word` say."""
    return re.findall(rf"^{word} +(.*)$", output, flags=re.MULTILINE)
