"""The key file that ZITADEL offers for download, as a file or as the variable's value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import key_file
from folders import API_KEY, KEY_CONTENT, KEY_FILES, USER_KEY, assert_one_sentence, prepare, start
from keys import RSA_KEY, pem
from programs import APIS
from servers import Upstream
from settings import ConfigurationError, Settings

VARIABLE = "API_PRIVATE_KEY_FILE"
KEY = {"type": "application", "keyId": "1", "key": pem(RSA_KEY), "appId": "2", "clientId": "3"}


def read(value: str) -> dict[str, str]:
    settings = Settings({"the environment": {VARIABLE: value}}, ".env")
    return key_file.read(settings, VARIABLE, "application")


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(KEY),
        json.dumps(KEY).replace("\\n", "\n"),
        json.dumps(KEY).replace("\\n", "\\\\n"),
        json.dumps(json.dumps(KEY)),
        json.dumps(json.dumps(KEY).replace("\\n", "\n")),
    ],
    ids=["as downloaded", "real line breaks", "escaped twice", "JSON in JSON", "both"],
)
def test_a_key_file_that_was_encoded_again_is_read(value: str) -> None:
    assert read(value) == {"keyId": "1", "key": pem(RSA_KEY), "clientId": "3"}


@pytest.mark.parametrize("value", ['{"type": "s3cret"', '"{s3cret"', "s3cret", "{" * 100_000])
def test_a_value_that_isnt_a_key_file_is_never_shown(value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(value)
    assert VARIABLE in str(raised.value) and "s3cret" not in str(raised.value)


def test_a_service_accounts_key_file_is_rejected_for_an_api() -> None:
    with pytest.raises(ConfigurationError, match="is a service account's key file, but an API's"):
        read(json.dumps(KEY | {"type": "serviceaccount", "userId": "4"}))


@pytest.mark.parametrize("is_folder", [False, True], ids=["nothing there", "a folder"])
@pytest.mark.parametrize(("name", "file_name"), KEY_FILES.items())
def test_a_missing_key_file_is_reported(
    name: str, file_name: str, is_folder: bool, tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path)
    (folder / file_name).unlink()
    if is_folder:
        (folder / file_name).mkdir()
    assert_one_sentence(start(folder), str(folder / file_name), "_PRIVATE_KEY_FILE")


def test_a_key_file_that_isnt_utf_8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY), encoding="utf-16")
    with pytest.raises(ConfigurationError, match="not the path of a readable text file"):
        read(str(tmp_path / "key.json"))


def test_a_key_file_that_windows_marked_as_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY), encoding="utf-8-sig")
    assert read(str(tmp_path / "key.json"))["keyId"] == "1"


@pytest.mark.parametrize("name", KEY_FILES)
def test_the_wrong_kind_of_key_file_is_reported(name: str, tmp_path: Path) -> None:
    other = next(content for folder, content in KEY_CONTENT.items() if folder != name)
    folder = prepare(name, tmp_path, key_file=other)
    api, user = "an API's key file", "a service account's key file"
    sentence = f"is {user}, but {api}" if name in APIS else f"is {api}, but {user}"
    assert_one_sentence(start(folder), sentence, str(folder / KEY_FILES[name]))


@pytest.mark.parametrize("end", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456789Z"])
def test_an_expired_key_is_reported(end: str, tmp_path: Path) -> None:
    expired = KEY_CONTENT["service-user-jwt"] | {"expirationDate": end}
    folder = prepare("service-user-jwt", tmp_path, key_file=expired)
    ended = start(folder)
    assert_one_sentence(ended, "expired", "client-key-file.json", "CLIENT_PRIVATE_KEY_FILE_PATH")


@pytest.mark.parametrize("end", ["", None, "9999-12-31T23:59:59Z"])
def test_a_key_without_an_expiry_is_accepted(end: object) -> None:
    assert read(json.dumps(KEY_CONTENT["api-jwt"] | {"expirationDate": end}))["keyId"] == "1"


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
        {"keyId": "<YOUR_KEY_ID>"},
        {"type": ["application"]},
        {"key": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"},
        {"key": pem(ec.generate_private_key(ec.SECP256R1()))},
        {"key": pem(RSA_KEY, b"password")},
        {"key": "\u00e4"},
    ],
    ids="text list deep empty no-key placeholder id your-id type broken ec locked odd".split(),
)
def test_an_invalid_key_file_is_rejected(
    name: str, change: str | dict[str, object], tmp_path: Path
) -> None:
    content: object = change
    if change == {}:
        content = {"type": KEY_CONTENT[name]["type"]}
    elif isinstance(change, dict):
        content = KEY_CONTENT[name] | change
    folder = prepare(name, tmp_path, key_file=content)
    assert_one_sentence(start(folder), "_PRIVATE_KEY_FILE", str(folder / ".env"))


@pytest.mark.parametrize("name", ["api-jwt", "service-user-jwt"])
@pytest.mark.parametrize("spaced", [False, True], ids=["as it is", "with line breaks"])
def test_a_key_variable_may_contain_the_key_itself(
    name: str, spaced: bool, tmp_path: Path, upstream: Upstream
) -> None:
    variable = [*(API_KEY if name == "api-jwt" else USER_KEY)][-1]
    folder = prepare(name, tmp_path)
    next(folder.glob("*-key-file.json")).unlink()
    value = json.dumps(KEY_CONTENT[name], indent=2 if spaced else None)
    upstream.answer({"access_token": "t", "expires_in": 60})
    value = value.replace("\\n", "\n") if spaced else value
    options = ("--token-only",) if name == "service-user-jwt" else ()
    ended = start(folder, *options, **{variable: value}, ZITADEL_TOKEN_URL=upstream.url)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["api-jwt", "service-user-jwt"])
@pytest.mark.parametrize("kind", ["base64", "pem", "token", "the other kind", "cut off", "long"])
@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_secret_in_the_place_of_a_path_is_never_shown(
    name: str, kind: str, source: str, tmp_path: Path
) -> None:
    other = next(content for folder, content in KEY_CONTENT.items() if folder != name)
    value = {
        "base64": "eyJ0eXBlIjoiYXBwbGljYXRpb24iLCJrZXlJZCI6InMzY3JldCJ9",
        "pem": KEY_CONTENT[name]["key"],
        "token": "s3cret-token",
        "the other kind": json.dumps(other),
        "cut off": json.dumps(KEY_CONTENT[name])[:300],
        "long": "s3cret" * 2000,
    }[kind]
    variable = [*(API_KEY if name == "api-jwt" else USER_KEY)][-1]
    folder = prepare(name, tmp_path)
    if source == "file":
        text = (folder / ".env").read_text().replace(f'{variable}="', "# ")
        (folder / ".env").write_text(f"{text}\n{variable}='{value}'\n")
    variables = {variable: value} if source == "environment" else {}
    ended = start(folder, **variables)
    assert_one_sentence(ended, variable)
    for secret in (value, value[:20], value[-20:], "eyJ0", "BEGIN"):
        assert secret not in ended.stderr + ended.stdout
