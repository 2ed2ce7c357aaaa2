"""The key file that ZITADEL offers for download, as a file or as the variable's value."""

from __future__ import annotations

import json

import pytest

import key_file
from keys import RSA_KEY, pem
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
    ],
    ids=["as downloaded", "real line breaks", "escaped twice", "JSON within a JSON string"],
)
def test_a_key_that_passed_other_encoders_is_read(value: str) -> None:
    assert read(value) == {"keyId": "1", "key": pem(RSA_KEY), "clientId": "3"}


@pytest.mark.parametrize("value", ['{"type": "s3cret"', '"{s3cret"', "s3cret", "{" * 100_000])
def test_what_isnt_a_key_file_is_never_shown(value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(value)
    assert VARIABLE in str(raised.value) and "s3cret" not in str(raised.value)


def test_a_service_accounts_key_file_is_told_apart() -> None:
    with pytest.raises(ConfigurationError, match="is a service account's key file, but an API's"):
        read(json.dumps(KEY | {"type": "serviceaccount", "userId": "4"}))
