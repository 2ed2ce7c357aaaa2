"""Each mistake in the settings gets one sentence that names variable, file and remedy."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from folders import SETTINGS, assert_one_sentence, prepare, start
from programs import SCRIPTS, copy_folder, environment, free_port, run
from servers import Upstream


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_an_unreachable_zitadel_is_reported(name: str, tmp_path: Path) -> None:
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
def test_every_answer_of_the_token_endpoint_is_explained(
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
def test_both_ways_of_rejecting_an_assertion_are_explained_alike(
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


def test_the_variables_to_check_are_named_with_their_source(
    tmp_path: Path, upstream: Upstream
) -> None:
    folder = prepare("service-user-client-credentials", tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    upstream.answer({"error": "invalid_client", "error_description": "client not found"}, 400)
    ended = start(folder, CLIENT_SECRET="s3cret-2")
    places = f"{folder / '.env'} and the environment"
    assert_one_sentence(ended, f"See CLIENT_ID, CLIENT_SECRET, ZITADEL_DOMAIN in {places}.")


@pytest.mark.parametrize(
    ("status", "words"), [(503, "is temporarily unavailable"), (404, "doesn't answer as ZITADEL's")]
)
def test_without_an_error_code_the_addresses_are_to_be_checked(
    status: int, words: str, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer(b"<html>", status)
    folder = prepare("service-user-jwt", tmp_path, ZITADEL_DOMAIN=upstream.base_url)
    place = folder / ".env"
    assert_one_sentence(
        start(folder), words, f"(status {status})", f"See ZITADEL_DOMAIN in {place}."
    )
    ended = start(folder, ZITADEL_TOKEN_URL=upstream.url)
    places = f"the environment and {place}"
    assert_one_sentence(ended, words, f"See ZITADEL_TOKEN_URL, ZITADEL_DOMAIN in {places}.")


def test_an_unreachable_api_is_reported(tmp_path: Path) -> None:
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=f"http://localhost:{free_port()}")
    ended = start(folder)
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1
    assert "API_BASE_URL" in ended.stderr and str(folder / ".env") in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


def test_a_redirect_of_the_api_is_not_followed(tmp_path: Path, upstream: Upstream) -> None:
    elsewhere = Upstream()
    elsewhere.answer({"message": "up"})
    upstream.answer(b"", 302, headers={"Location": elsewhere.base_url})
    ended = start(prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url))
    elsewhere.stop()
    assert (ended.returncode, elsewhere.forms) == (4, [])
    assert "something other than this API answers with status 302" in ended.stderr


@pytest.mark.parametrize("content", [{"status": "up"}, ["message"], b"<html>"])
def test_an_answer_of_another_program_than_the_api_is_recognized(
    content: object, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer(content)
    ended = start(prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url))
    assert ended.returncode == 4
    assert "something other than this API answers with status 200" in ended.stderr


def test_a_rejected_renewal_between_two_calls_is_explained(
    tmp_path: Path, upstream: Upstream
) -> None:
    api = Upstream()
    upstream.answer({"access_token": "abc", "expires_in": 0.2})

    def answer(form: object) -> dict[str, str]:
        upstream.answer({"error": "invalid_client"}, 400)
        time.sleep(0.3)
        return {"message": "up"}

    api.answer(answer)
    folder = prepare(
        "service-user-client-credentials",
        tmp_path,
        ZITADEL_TOKEN_URL=upstream.url,
        API_BASE_URL=api.base_url,
    )
    ended = start(folder)
    api.stop()
    assert (ended.returncode, ended.stdout.splitlines()[1:]) == (
        4,
        [f"{'/api/public':<20} 200  up"],
    )
    assert "ZITADEL rejected the token request (status 400)." in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


ESCAPES = "\x1b]0;title\x07\x1b[31mred\x9b0m\u202e\n"


def test_an_apis_answer_cannot_control_the_terminal(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer({"message": ESCAPES, "error_description": ESCAPES})
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url)
    ended = start(folder)
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 4
    assert r"\x1b]0;title\x07\x1b[31mred\x9b0m\u202e\n" in ended.stdout
    assert all(line.isprintable() for line in ended.stdout.split("\n"))


def test_a_character_that_the_terminal_lacks_is_escaped(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer({"message": "\u4e2d"})
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url)
    ended = run(folder, SCRIPTS[folder.name], PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u4e2d" in ended.stdout


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_zitadels_answer_cannot_control_the_terminal(
    name: str, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer({"error": ESCAPES, "error_description": ESCAPES}, 400)
    folder = prepare(name, tmp_path, ZITADEL_TOKEN_URL=upstream.url)
    ended = start(folder)
    assert_one_sentence(ended)
    assert all(line.isprintable() for line in ended.stderr.split("\n"))


def started(name: str, into: Path, upstream: Upstream) -> subprocess.Popen[bytes]:
    """Start a script that asks `upstream` for a token and calls it as the API."""
    addresses = {"ZITADEL_TOKEN_URL": upstream.url, "API_BASE_URL": upstream.base_url}
    return subprocess.Popen(
        [sys.executable, SCRIPTS[name]],
        cwd=prepare(name, into, **addresses),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_ends_a_script_without_a_traceback(
    name: str, tmp_path: Path, upstream: Upstream
) -> None:
    def interrupt(form: object) -> None:
        time.sleep(0.5)  # until it waits for the answer
        process.send_signal(signal.SIGINT)
        time.sleep(5)

    upstream.answer(interrupt)
    with started(name, tmp_path, upstream) as process:
        assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 130


@pytest.mark.parametrize(("host", "advised"), [("localhost", True), ("x.invalid", False)])
def test_only_an_api_on_this_machine_is_to_be_started(
    host: str, advised: bool, tmp_path: Path
) -> None:
    url = f"http://{host}:{free_port()}"
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=url)
    ended = start(folder)
    assert ended.returncode == 4 and f"{url} can't be reached" in ended.stderr
    assert ("flask --app server run" in ended.stderr) == advised


def test_a_script_runs_without_a_standard_output(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer({"message": "hello"})
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL=upstream.base_url)
    command = f"exec {sys.executable} {SCRIPTS[folder.name]} >&-"
    ended = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment(), stderr=subprocess.PIPE
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_closed_pipe_ends_a_script_without_a_traceback(
    name: str, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer({"access_token": "t", "expires_in": 60, "message": "hello"})
    with started(name, tmp_path, upstream) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("name", SETTINGS)
def test_importing_a_folders_modules_does_nothing(name: str, tmp_path: Path) -> None:
    folder = copy_folder(name, tmp_path)
    modules = [file.stem for file in folder.glob("*.py") if file.stem.isidentifier()]
    modules = [module for module in modules if module != "server"]
    ended = run(folder, "-c", f"import {', '.join(modules)}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
