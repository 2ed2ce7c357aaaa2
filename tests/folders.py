"""Copies of the five folders with working settings, apart from the mistake that a test makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from keys import RSA_KEY, pem
from programs import APIS, SCRIPTS, copy_folder, run_here

DOMAIN = {"ZITADEL_DOMAIN": "http://localhost:9"}
BASIC = DOMAIN | {"API_CLIENT_ID": "id", "API_CLIENT_SECRET": "s3cret"}
API_KEY = DOMAIN | {"API_PRIVATE_KEY_FILE": "api-key-file.json"}
USER = DOMAIN | {"PROJECT_ID": "1"}
USER_KEY = USER | {"CLIENT_PRIVATE_KEY_FILE_PATH": "client-key-file.json"}
SECRET = USER | {"CLIENT_ID": "user", "CLIENT_SECRET": "s3cret"}
PAT = {"PERSONAL_ACCESS_TOKEN": "s3cret"}
SETTINGS = {
    "api-jwt": API_KEY,
    "api-basic-authentication": BASIC,
    "service-user-jwt": USER_KEY,
    "service-user-client-credentials": SECRET,
    "service-user-pat": PAT,
}
KEY_FILES = {"api-jwt": "api-key-file.json", "service-user-jwt": "client-key-file.json"}
KEY_CONTENT = {
    "api-jwt": {
        "type": "application",
        "keyId": "1",
        "key": pem(RSA_KEY),
        "appId": "2",
        "clientId": "3",
    },
    "service-user-jwt": {
        "type": "serviceaccount",
        "keyId": "1",
        "key": pem(RSA_KEY),
        "userId": "2",
        "expirationDate": "2090-01-01T00:00:00Z",
    },
}


def prepare(name: str, into: Path, key_file: object = None, **changes: str) -> Path:
    """Copy a folder with working settings, apart from `changes`, and return the copy."""
    folder = copy_folder(name, into)
    settings = SETTINGS[name] | changes
    lines = [f'{key}="{value}"\n' for key, value in settings.items() if value != "(absent)"]
    (folder / ".env").write_text("".join(lines))
    if name in KEY_FILES:
        content = KEY_CONTENT[name] if key_file is None else key_file
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / KEY_FILES[name]).write_text(text)
    return folder


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start what the folder is for."""
    program = "server.py" if folder.name in APIS else SCRIPTS[folder.name]
    return run_here(folder, program, *arguments, **variables)


def assert_one_sentence(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check for exit status 4 and a single line that holds `parts` and nothing secret."""
    assert ended.returncode == 4, ended.stderr
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.rstrip().endswith(".")
    for part in parts:
        assert part in ended.stderr
    assert "s3cret" not in ended.stderr
    assert "PRIVATE KEY" not in ended.stderr
