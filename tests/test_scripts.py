"""Each mistake in the settings gets one sentence that names variable, file and remedy."""

from __future__ import annotations

import json
import re
import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keys import RSA_KEY, pem
from programs import APIS, FLASK, GUNICORN, SCRIPTS, copy_folder, free_port, run, run_here
from servers import Upstream

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
REQUIRED = [(folder, name) for folder, settings in SETTINGS.items() for name in settings]
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


@pytest.mark.parametrize("value", ["(absent)", "", "   ", "<YOUR_VALUE>", "YOUR_VALUE"])
@pytest.mark.parametrize(("name", "variable"), REQUIRED)
def test_a_missing_value_or_a_placeholder(
    name: str, variable: str, value: str, tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, **{variable: value})
    assert_one_sentence(start(folder), variable, str(folder / ".env"))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_of_its_own_ends_in_the_same_way(name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, **{next(iter(SETTINGS[name])): ""})
    command = (*FLASK, str(free_port())) if name in APIS else (SCRIPTS[name],)
    assert_one_sentence(run(folder, *command), "is not set", str(folder / ".env"))


def test_the_env_file_above_is_named_where_only_that_exists(tmp_path: Path) -> None:
    folder = copy_folder("service-user-pat", tmp_path)
    (tmp_path / ".env").write_text('PERSONAL_ACCESS_TOKEN="<YOUR_PERSONAL_ACCESS_TOKEN>"')
    assert_one_sentence(start(folder), "placeholder", f" {tmp_path / '.env'}.")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("https://example.com/ui/console", "path"),
        ("https://", "address"),
        ("ftp://example.com", "address"),
        ("https://exam ple.com", "address"),
        ("https://example.com:99999", "address"),
        ("https://example.com:0", "address"),
        ("https://user@example.com", "address"),
        ("https://[", "address"),
        ("[example.com]", "address"),
        ("https://my..example.com", "address"),
        ("https://" + "a" * 64 + ".example.com", "address"),
        ("https://:s3cret@example.com", "address"),
        ("https://example.com?", "address"),
        ("s3cret-without-a-dot", "address"),
        ("s3cret:8080", "address"),
    ],
)
@pytest.mark.parametrize("name", ["api-jwt", "service-user-client-credentials"])
def test_a_domain_that_is_none(name: str, value: str, part: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN=value)
    assert_one_sentence(start(folder), "ZITADEL_DOMAIN", part, str(folder / ".env"))


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("api-basic-authentication", "ZITADEL_INTROSPECTION_URL"),
        ("service-user-jwt", "ZITADEL_TOKEN_URL"),
    ],
)
def test_an_optional_address_left_as_a_placeholder(
    name: str, variable: str, tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, **{variable: "<YOUR_ZITADEL_DOMAIN>/x"})
    assert_one_sentence(start(folder), variable, str(folder / ".env"))


@pytest.mark.parametrize(("name", "file_name"), KEY_FILES.items())
def test_a_missing_key_file(name: str, file_name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path)
    (folder / file_name).unlink()
    assert_one_sentence(start(folder), str(folder / file_name), "_PRIVATE_KEY_FILE")
    (folder / file_name).mkdir()
    assert_one_sentence(start(folder), str(folder / file_name), "_PRIVATE_KEY_FILE")


@pytest.mark.parametrize("name", KEY_FILES)
def test_the_other_kind_of_key_file(name: str, tmp_path: Path) -> None:
    other = next(content for folder, content in KEY_CONTENT.items() if folder != name)
    folder = prepare(name, tmp_path, key_file=other)
    api, user = "an API's key file", "a service account's key file"
    sentence = f"is {user}, but {api}" if name in APIS else f"is {api}, but {user}"
    assert_one_sentence(start(folder), sentence, str(folder / KEY_FILES[name]))


@pytest.mark.parametrize("end", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456789Z"])
def test_a_key_that_has_expired(end: str, tmp_path: Path) -> None:
    expired = KEY_CONTENT["service-user-jwt"] | {"expirationDate": end}
    folder = prepare("service-user-jwt", tmp_path, key_file=expired)
    ended = start(folder)
    assert_one_sentence(ended, "expired", "client-key-file.json", "CLIENT_PRIVATE_KEY_FILE_PATH")


@pytest.mark.parametrize("name", KEY_FILES)
@pytest.mark.parametrize(
    "change",
    [
        "not JSON",
        "[]",
        "[" * 200_000,
        {},
        {"key": ""},
        {"key": "<YOUR_KEY>"},
        {"keyId": 1},
        {"type": ["application"]},
        {"key": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"},
        {"key": pem(ec.generate_private_key(ec.SECP256R1()))},
        {"key": pem(RSA_KEY, b"password")},
        {"key": "\u00e4"},
    ],
    ids="text list deep empty no-key placeholder id type broken ec locked odd".split(),
)
def test_a_key_file_that_is_none(
    name: str, change: str | dict[str, object], tmp_path: Path
) -> None:
    content: object = change
    if change == {}:
        content = {"type": KEY_CONTENT[name]["type"]}
    elif isinstance(change, dict):
        content = KEY_CONTENT[name] | change
    folder = prepare(name, tmp_path, key_file=content)
    assert_one_sentence(start(folder), "_PRIVATE_KEY_FILE", str(folder / ".env"))


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_a_zitadel_that_does_not_run(name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN=f"http://localhost:{free_port()}")
    assert_one_sentence(start(folder), "can't be reached (Connection refused)", "ZITADEL_DOMAIN")


@pytest.mark.parametrize("options", [(), ("--token-only",)])
@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (200, b"<html>", {}),
        (200, ["s3cret"], {}),
        (200, {}, {}),
        (200, {"access_token": "s3cret"}, {}),
        (200, {"access_token": "", "expires_in": 60}, {}),
        (200, {"access_token": "s3cret\nx", "expires_in": 60}, {}),
        (200, {"access_token": "s3cret\u20ac", "expires_in": 60}, {}),
        (200, {"access_token": "s3cret", "expires_in": float("nan")}, {}),
        (200, {"access_token": "s3cret", "expires_in": 10**400}, {}),
        (200, {"access_token": "s3cret", "expires_in": -1}, {}),
        (302, b"", {"Location": "https://example.com/"}),
        (302, b"", {"Location": "http://["}),
        (400, {"error": "invalid_request", "error_description": "s3cret"}, {}),
        (400, {"error": "invalid_request", "error_description": ["s3cret"]}, {}),
        (404, b"Instance not found", {}),
        (500, {"error": "server_error", "error_description": "Errors.Internal"}, {}),
        (502, b"<html>", {}),
    ],
)
def test_whatever_a_token_endpoint_answers_is_explained(
    status: int,
    content: object,
    headers: dict[str, str],
    name: str,
    options: tuple[str, ...],
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    upstream.answer(content, status, headers=headers)
    folder = prepare(name, tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    assert_one_sentence(start(folder, *options), "ZITADEL")


@pytest.mark.parametrize("behind", [0, 300, -300])
def test_both_ways_of_rejecting_an_assertion_get_the_same_help(
    behind: int, tmp_path: Path, upstream: Upstream
) -> None:
    folder = prepare("service-user-jwt", tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    told = set()
    for status, error, description in (
        (400, "invalid_grant", "invalid assertion"),
        (500, "server_error", "Errors.Internal"),  # ZITADEL 4.13 and older
    ):
        date = formatdate(time.time() - behind, usegmt=True)
        rejection = {"error": error, "error_description": description}
        upstream.answer(rejection, status, headers={"Date": date})
        ended = start(folder)
        assert_one_sentence(ended, "the key was removed or has expired", "deleted", "own domain")
        assert_one_sentence(ended, "See CLIENT_PRIVATE_KEY_FILE_PATH, ZITADEL_DOMAIN in ")
        told.add(re.sub(r"clock is (299|300|301) s", "clock is 300 s", ended.stderr))
    (sentence,) = told
    ahead = {300: "is 300 s ahead of ZITADEL's.", -300: "is 300 s behind ZITADEL's."}
    assert ahead.get(behind, "domain. See ") in sentence
    assert ("clock" in sentence) == (behind != 0)


def test_what_to_see_is_named_with_its_source(tmp_path: Path, upstream: Upstream) -> None:
    folder = prepare("service-user-client-credentials", tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    upstream.answer({"error": "invalid_client", "error_description": "client not found"}, 400)
    ended = start(folder, CLIENT_SECRET="s3cret-2")
    places = f"{folder / '.env'} and the environment"
    assert_one_sentence(ended, f"See CLIENT_ID, CLIENT_SECRET, ZITADEL_DOMAIN in {places}.")


def test_an_api_that_does_not_run(tmp_path: Path) -> None:
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=f"http://localhost:{free_port()}")
    ended = start(folder)
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1
    assert "API_BASE_URL" in ended.stderr and str(folder / ".env") in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("token", ["s3cret s3cret", "s3cret\\ns3cret", "s3cret\u00e4"])
def test_a_personal_access_token_with_foreign_characters(token: str, tmp_path: Path) -> None:
    folder = prepare("service-user-pat", tmp_path, PERSONAL_ACCESS_TOKEN=token)
    assert_one_sentence(start(folder), "PERSONAL_ACCESS_TOKEN", str(folder / ".env"))


@pytest.mark.parametrize("name", SETTINGS)
def test_an_env_file_that_is_no_text(name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path)
    (folder / ".env").write_bytes(b"\xff\xfe\x00")
    ended = start(folder)
    assert_one_sentence(ended, str(folder / ".env"))


ESCAPES = "\x1b]0;title\x07\x1b[31mred\x9b0m\u202e\n"


def test_what_an_api_sends_cannot_control_the_terminal(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer({"message": ESCAPES, "error_description": ESCAPES})
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url)
    ended = start(folder)
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 4
    assert r"\x1b]0;title\x07\x1b[31mred\x9b0m\u202e\n" in ended.stdout
    assert all(line.isprintable() for line in ended.stdout.split("\n"))


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_what_zitadel_sends_cannot_control_the_terminal(
    name: str, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer({"error": ESCAPES, "error_description": ESCAPES}, 400)
    folder = prepare(name, tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    ended = start(folder)
    assert_one_sentence(ended)
    assert all(line.isprintable() for line in ended.stderr.split("\n"))


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("options", [(), ("--preload",), ("--workers", "2")])
def test_gunicorn_shows_the_sentence_and_ends(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN="(absent)")
    ended = run(folder, *GUNICORN, f"127.0.0.1:{free_port()}", *options)
    # With several workers gunicorn may stumble over the second one's end, and say so: status 1.
    assert ended.returncode in (4, 1) if "--workers" in options else ended.returncode == 4
    assert ended.stderr.count("ZITADEL_DOMAIN is not set") <= 2
    assert "ZITADEL_DOMAIN is not set" in ended.stderr
    assert "settings.py" not in ended.stderr


def test_an_unencrypted_way_to_another_host_is_warned_of(tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path, ZITADEL_DOMAIN="HTTP://Example.com")
    ended = run(folder, "-c", "import server")  # pytest takes what is logged
    assert ended.returncode == 0
    assert len(ended.stderr.splitlines()) == 1
    assert "http://example.com" in ended.stderr and "not encrypted" in ended.stderr


@pytest.mark.parametrize("name", SETTINGS)
def test_importing_what_people_copy_does_nothing(name: str, tmp_path: Path) -> None:
    folder = copy_folder(name, tmp_path)
    modules = [file.stem for file in folder.glob("*.py") if file.stem.isidentifier()]
    modules = [module for module in modules if module != "server"]
    ended = run(folder, "-c", f"import {', '.join(modules)}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
