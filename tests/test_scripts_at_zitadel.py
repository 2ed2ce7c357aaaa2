"""What the scripts say of mistakes that only show at ZITADEL, each made against local-zitadel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from instance import Suite
from programs import APIS, FLASK, SCRIPTS, WRONG_CLOCK, run, run_here, running_api
from servers import TOKEN, Upstream, send

pytestmark = pytest.mark.local_zitadel
KEY = "service-user-jwt"
SECRET = "service-user-client-credentials"


def sentence(ended: subprocess.CompletedProcess[str]) -> str:
    """Check for exit status 4 and return the one line that was printed."""
    assert (ended.returncode, ended.stdout) == (4, ""), ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and ended.stderr.endswith(".\n"), ended.stderr
    return ended.stderr


def with_key(suite: Suite, into: Path, **changes: str) -> Path:
    """Copy service-user-jwt with its settings and a key file that is changed."""
    folder = Path(shutil.copytree(suite.folder / KEY, into / KEY))
    file = folder / "client-key-file.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("ahead", "direction"), [(90, "ahead of"), (300, "ahead of"), (-86400, "behind")]
)
def test_a_wrong_clock_is_reported(ahead: int, direction: str, suite: Suite) -> None:
    folder = suite.folder / KEY
    told = sentence(run(folder, "-c", WRONG_CLOCK, str(ahead), SCRIPTS[KEY]))
    difference = re.search(rf"This machine's clock is (\d+) s {direction} ZITADEL's\.", told)
    assert difference and abs(int(difference[1]) - abs(ahead)) <= 2


@pytest.mark.parametrize("ahead", [50, -180])
def test_a_slightly_wrong_clock_works(ahead: int, suite: Suite) -> None:
    ended = run(suite.folder / KEY, "-c", WRONG_CLOCK, str(ahead), SCRIPTS[KEY], "--token-only")
    assert ended.returncode == 0, ended.stderr


def test_a_key_that_zitadel_doesnt_know_is_reported(suite: Suite, tmp_path: Path) -> None:
    ended = run_here(with_key(suite, tmp_path, keyId="1"), SCRIPTS[KEY])
    assert "the key was removed or has expired" in sentence(ended)


def test_another_service_accounts_key_is_reported(suite: Suite, tmp_path: Path) -> None:
    ended = run_here(with_key(suite, tmp_path, userId="1"), SCRIPTS[KEY])
    assert "CLIENT_PRIVATE_KEY_FILE_PATH" in sentence(ended)


def test_an_apis_key_instead_of_a_service_accounts_is_reported(
    suite: Suite, tmp_path: Path
) -> None:
    folder = with_key(suite, tmp_path)
    shutil.copy(suite.folder / "api-jwt/api-key-file.json", folder / "client-key-file.json")
    assert "is an API's key file, but a service account's key file is required" in sentence(
        run_here(folder, SCRIPTS[KEY])
    )


@pytest.mark.parametrize("name", [KEY, SECRET])
def test_127_0_0_1_instead_of_localhost_is_reported(name: str, suite: Suite) -> None:
    domain = suite.zitadel.issuer.replace("localhost", "127.0.0.1")
    variables = {"ZITADEL_DOMAIN": domain, "ZITADEL_TOKEN_URL": f"{domain}/oauth/v2/token"}
    ended = run_here(suite.folder / name, SCRIPTS[name], **variables)
    assert "localhost and 127.0.0.1 differ" in sentence(ended)


def test_127_0_0_1_instead_of_localhost_in_the_assertion_is_reported(suite: Suite) -> None:
    domain = suite.zitadel.issuer.replace("localhost", "127.0.0.1")
    variables = {"ZITADEL_DOMAIN": domain}
    variables["ZITADEL_TOKEN_URL"] = f"{suite.zitadel.issuer}/oauth/v2/token"
    ended = run_here(suite.folder / KEY, SCRIPTS[KEY], **variables)
    assert "ZITADEL_DOMAIN" in sentence(ended)


@pytest.mark.parametrize("name", [KEY, SECRET])
def test_a_client_accepts_a_domain_with_a_trailing_slash(name: str, suite: Suite) -> None:
    variables = {"ZITADEL_DOMAIN": f"{suite.zitadel.issuer}/", "ZITADEL_TOKEN_URL": ""}
    ended = run_here(suite.folder / name, SCRIPTS[name], "--token-only", **variables)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", APIS)
def test_an_api_accepts_a_domain_with_a_trailing_slash(name: str, suite: Suite) -> None:
    variables = {"ZITADEL_DOMAIN": f"{suite.zitadel.issuer}/", "ZITADEL_INTROSPECTION_URL": ""}
    with running_api(suite.folder / name, FLASK, **variables) as base_url:
        folder = suite.folder / "service-user-pat"
        assert run_here(folder, SCRIPTS[folder.name], API_BASE_URL=base_url).returncode == 0


@pytest.mark.parametrize("name", [KEY, SECRET])
def test_a_token_endpoint_that_redirects_is_reported(
    name: str, suite: Suite, upstream: Upstream
) -> None:
    location = f"{suite.zitadel.issuer}/oauth/v2/token"
    upstream.answer(b"", 302, headers={"Location": location})
    ended = run_here(suite.folder / name, SCRIPTS[name], ZITADEL_TOKEN_URL=upstream.url)
    assert "doesn't answer as ZITADEL's token endpoint does (status 302)" in sentence(ended)


@pytest.mark.parametrize("name", [KEY, SECRET])
def test_https_to_a_server_without_it_is_reported(name: str, suite: Suite) -> None:
    domain = suite.zitadel.issuer.replace("http:", "https:")
    variables = {"ZITADEL_DOMAIN": domain, "ZITADEL_TOKEN_URL": f"{domain}/oauth/v2/token"}
    told = sentence(run_here(suite.folder / name, SCRIPTS[name], **variables))
    # Python 3.15's server answers 400 in plain HTTP; older ones close the connection.
    words = ("ended the connection instead of answering", "doesn't speak https")
    assert any(word in told for word in words) and "in ZITADEL_TOKEN_URL" in told


def test_a_service_accounts_id_instead_of_its_username_is_reported(suite: Suite) -> None:
    key = json.loads((suite.folder / KEY / "client-key-file.json").read_text())
    ended = run_here(suite.folder / SECRET, SCRIPTS[SECRET], CLIENT_ID=key["userId"])
    assert "the username of one that exists, not its id" in sentence(ended)


@pytest.mark.parametrize("ahead", [120, -3600])
def test_an_api_with_a_wrong_clock_logs_both_clocks(ahead: int, suite: Suite) -> None:
    folder = suite.folder / "api-jwt"
    command = ("-c", WRONG_CLOCK, str(ahead), "server.py", "--port")
    with running_api(folder, command) as base_url:
        status, _, body = send(base_url, "/api/private", TOKEN)
    assert (status, body["error"]) == (500, "server_error")
    log = (folder / "log.txt").read_text()
    assert "(ZITADEL's clock: " in log and "this machine's: " in log
