"""diagnose.py where ZITADEL rejects the API's own secret or key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diagnosing import BASIC, RESTARTED, diagnose, problem, problems, wrong_key
from instance import Suite
from servers import Upstream


@pytest.mark.parametrize(
    ("name", "value"), [("API_CLIENT_SECRET", "wr0ng-secret"), ("API_CLIENT_ID", "1")]
)
def test_a_rejected_secret_is_explained(name: str, value: str, suite: Suite) -> None:
    variables = {name: value}
    lines = diagnose(suite.folder / BASIC, status=1, ahead=0, **variables)
    assert problems(lines) == [
        "ZITADEL rejects the API's client id and secret (unauthorized_client). Possible "
        "causes, the most likely first: API_CLIENT_ID isn't this API's client id, or "
        "API_CLIENT_SECRET isn't its latest secret: a new one invalidates the previous one; "
        "the API has the method Private Key JWT, which takes no secret: use api-jwt, or an "
        f"API with the method Basic; {RESTARTED}the API (the application in ZITADEL's "
        "console), its project or its organization was deactivated: reactivate that, since new "
        "credentials don't help; it was deleted; or it belongs to another ZITADEL."
    ]
    assert lines[-1] == "Fix this first: the token itself couldn't be checked."


def test_swapped_apis_are_explained(suite: Suite) -> None:
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    told = problem(suite.folder / BASIC, API_CLIENT_ID=key["clientId"])
    assert "the API has the method Private Key JWT, which takes no secret: use api-jwt" in told


def test_a_rejected_key_is_explained(suite: Suite, tmp_path: Path) -> None:
    told = problem(suite.folder / "api-jwt", API_PRIVATE_KEY_FILE=str(wrong_key(suite, tmp_path)))
    assert told == (
        "ZITADEL rejects the API's key (unauthorized_client). Possible causes, the most likely "
        "first: the key was removed or has expired: create a new one for API_PRIVATE_KEY_FILE; "
        f"{RESTARTED}the API (the application in ZITADEL's console), its project or its "
        "organization was deactivated: reactivate that, since new credentials don't help; it was "
        "deleted; or it belongs to another ZITADEL."
    )


@pytest.mark.parametrize("error", ["unauthorized_client", "access_denied"])
def test_a_deactivated_api_or_project_is_named_as_a_cause(
    error: str, scripted_api: tuple[Upstream, Path]
) -> None:
    scripted_api[0].answer({"error": error}, 400)
    told = problem(scripted_api[1], token="abc")
    assert f"client id and secret ({error}). Possible causes" in told
    assert "was deactivated: reactivate that, since new credentials don't help" in told
