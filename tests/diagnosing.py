"""Run diagnose.py for a test, and make the tokens that it is asked about."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from dotenv import dotenv_values

from instance import Suite
from keys import RSA_KEY, pem
from programs import ROOT, SCRIPTS, run, run_here
from servers import ROLES

JWT_USER, SECRET_USER, PAT_USER = SCRIPTS
BASIC = "api-basic-authentication"
NO_PAT = {"PERSONAL_ACCESS_TOKEN": "no-token"}
ACCEPTED = "An API with these settings accepts this token."
FIRST = "the most likely cause first"
DEAD = (
    "its user was deleted, or deactivated or locked, after which tokens stay dead even if that is"
)
RESTARTED = "local-zitadel was restarted, which forgets everything: run provision.py again; "
GONE = f"{RESTARTED}{DEAD} undone: get a new one; or another ZITADEL issued it."
PERSONAL = "it has expired or was removed; it wasn't copied whole; " + GONE


def diagnose(
    folder: Path,
    *options: str,
    token: str | bytes | None = None,
    status: int = 1,
    ahead: float = 0,
    **variables: str,
) -> list[str]:
    """Run it on an API's folder and return its lines, each whole.

    It must end with this exit status and print nothing secret. A `token` is piped in; this
    machine's clock is `ahead` by so many seconds.
    """
    __tracebackhide__ = True
    receiver, sender = os.pipe()
    os.write(sender, token.encode() if isinstance(token, str) else token or b"")
    os.close(sender)
    if token is None:
        os.close(receiver)
    modules = {file.stem for file in folder.glob("*.py")} & sys.modules.keys()
    ours = {name: sys.modules.pop(name) for name in modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", open(os.devnull if token is None else receiver))
        now = time.time
        patch.setattr(time, "time", lambda: now() + ahead)
        try:
            ended = run_here(ROOT, "diagnose.py", str(folder), *options, **variables)
        finally:
            for file in folder.glob("*.py"):
                sys.modules.pop(file.stem, None)
            sys.modules.update(ours)
            sys.stdin.close()
    output = ended.stdout + ended.stderr
    assert ended.returncode == status, output
    values = [token.strip()] if isinstance(token, str) else []
    values += [value for name, value in variables.items() if re.search("SECRET|ACCESS", name)]
    for file in folder.parent.glob("*/.env"):
        text = file.read_text(errors="replace")
        values += re.findall("(?:SECRET|ACCESS_TOKEN)=[\"']?([^\"'\\n]+)", text)
    for value in values:
        assert len(value) < 9 or value not in output
    lines = ended.stdout.replace(str(folder.parent), "…").splitlines()
    assert all(len(line) <= 100 or " " not in line[9:] for line in lines)
    return output.replace("\n         ", " ").splitlines()


def problems(lines: list[str]) -> list[str]:
    return [line.removeprefix("PROBLEM  ") for line in lines if line.startswith("PROBLEM")]


def problem(folder: Path, *options: str, **arguments: Any) -> str:
    """Return the only problem found."""
    (told,) = problems(diagnose(folder, *options, **arguments))
    return told


def token_of(suite: Suite, name: str, **variables: str) -> str:
    ended = run(suite.folder / name, SCRIPTS[name], "--token-only", **variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def project_of(suite: Suite) -> str:
    return str(dotenv_values(suite.folder / JWT_USER / ".env")["PROJECT_ID"])


def signed(claims: dict[str, Any]) -> str:
    content = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(content, RSA_KEY, "RS256")


def wrong_key(suite: Suite, into: Path) -> Path:
    file = into / "api-key-file.json"
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    file.write_text(json.dumps(key | {"key": pem(RSA_KEY)}))
    return file


def claims(**changes: Any) -> dict[str, Any]:
    roles = {"read:messages": {"12": "a.example", "13": "b.example"}}
    answer = {"active": True, "sub": "1", "client_id": "user", "exp": time.time() + 60}
    return {**answer, ROLES: roles, **changes}
