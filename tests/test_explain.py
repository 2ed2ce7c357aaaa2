"""demo.py --explain: its chapters, what they show, and that they show no secret."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import jwt
import pytest
import requests

from demonstration import ALL_RIGHT, left, processes, rows, start
from programs import APIS, clone, environment
from servers import Upstream
from tools.exchange import Exchange
from tools.explain import Lecture, Proxy

# Python runs a module of this name by itself in each process that finds it: a wiretap.
SITECUSTOMIZE = """
import os
from http.client import HTTPConnection, HTTPResponse

send, read = HTTPConnection.send, HTTPResponse.read

def keep(data):
    with open(os.environ["WIRETAP"], "ab") as file:
        file.write(bytes(data) + b"\\n")
    return data

HTTPConnection.send = lambda self, data: send(self, keep(data))
HTTPResponse.read = lambda self, *arguments: keep(read(self, *arguments))
"""
SECRET = re.compile(
    r"Authorization: \w+ ([^\r\n]+)|\b(?:client_|access_)?(?:token|assertion)=([^&\s]+)"
    r'|"(?:access_token|id_token|token|clientSecret|keyDetails|keyContent)": ?"([^"]+)"'
)
TITLES = [
    "1. A token for a signed assertion",
    "2. A call to a protected route, and how the API checks it",
    "3. A token for a client id and a secret",
    "4. A token issued in advance",
    "5. The role is missing: 403",
    "6. No token: 401",
    "7. A token that isn't active: 401",
    "8. The other API: it asks with a client id and a secret",
    "All calls",
]
CALL = ["client -> API", "API -> ZITADEL", "ZITADEL -> API", "API -> client"]
TOKEN = ["client -> ZITADEL", "ZITADEL -> client"]


class Told(NamedTuple):
    """What was printed, and the secrets that were sent meanwhile."""

    output: str
    secrets: set[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run the lecture once, without a terminal, and listen in."""
    folder = tmp_path_factory.mktemp("lecture")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    wiretap, marker = folder / "wiretap", str(folder)
    variables = {"PYTHONPATH": str(folder), "WIRETAP": str(wiretap), "HTTP_PROXY": "localhost:9"}
    demo = start(clone(folder / "clone"), marker, "--explain", **variables)
    output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (0, "")
    assert processes(marker) == []
    found = SECRET.findall(wiretap.read_bytes().decode(errors="replace"))
    secrets = {unquote(secret) for secret in map("".join, found)}
    return Told(output, secrets | set(map(decoded, secrets)))


def decoded(secret: str) -> str:
    """Return the secret of a Basic authorization or the key of a key file, else ""."""
    try:
        text = base64.b64decode(secret, validate=True).decode()
        return str(json.loads(text)["key"]) if text.startswith("{") else text.partition(":")[2]
    except ValueError:
        return ""


def chapter(output: str, number: int) -> str:
    """Return a chapter's text."""
    _, _, rest = output.partition(f"\n{TITLES[number - 1]}\n")
    return rest.partition(f"\n{TITLES[number]}\n")[0]


def test_the_table_comes_last(told: Told) -> None:
    _, _, end = told.output.partition("\nAll calls\n")
    for api in APIS:
        assert rows(end, api) == ALL_RIGHT
    assert re.search(r"\n\nEvery status is as [a-z ]+\. [0-9.]+ s\n$", end)


def test_it_fits_a_terminal_of_100_columns(told: Told) -> None:
    assert max(map(len, told.output.splitlines())) <= 100


def test_the_chapters_come_in_order(told: Told) -> None:
    assert re.findall(r"^(.+)\n=+$", told.output, re.MULTILINE) == TITLES


@pytest.mark.parametrize(
    ("number", "arrows"),
    [
        (1, TOKEN),
        (2, CALL),
        (3, TOKEN),
        (4, CALL),
        (5, CALL),
        (6, [CALL[0], CALL[3]]),
        (7, CALL),
        (8, CALL),
    ],
)
def test_the_messages_of_a_chapter_come_in_order_with_an_explanation(
    number: int, arrows: list[str], told: Told
) -> None:
    steps = re.findall(r"^ +(\w+ -> \w+)\n +\w.+\n", chapter(told.output, number), re.MULTILINE)
    assert steps == arrows


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, "grant_type = urn:ietf:params:oauth:grant-type:jwt-bearer"),
        (1, "assertion = eyJhbG…"),
        (2, "client_assertion = eyJhbG…"),
        (3, "grant_type = client_credentials"),
        (5, "403 FORBIDDEN"),
        (5, 'WWW-Authenticate: Bearer realm="api", error="insufficient_scope"'),
        (6, 'WWW-Authenticate: Bearer realm="api"'),
        (7, '{"active": false}'),
        (7, 'WWW-Authenticate: Bearer realm="api", error="invalid_token"'),
    ],
)
def test_what_distinguishes_a_chapter_is_shown_only_there(
    number: int, line: str, told: Told
) -> None:
    shown = [n for n in range(1, 9) if f"| {line}\n" in chapter(told.output, n)]
    assert shown == [number]


@pytest.mark.parametrize("number", [1, 2])
def test_an_assertion_is_decoded(number: int, told: Told) -> None:
    text = chapter(told.output, number)
    assert '"alg": "RS256"' in text
    claims = re.findall(r"\| {9}(\w+): (\S+)", text)
    assert [name for name, _ in claims] == ["iss", "sub", "aud", "iat", "exp"]
    assert dict(claims)["aud"].startswith("http://localhost:")


def test_zitadels_answer_lacks_the_missing_role(told: Told) -> None:
    claim = '"urn:zitadel:iam:org:project:roles"'
    assert [claim in chapter(told.output, number) for number in (2, 4, 5, 8)] == [
        True, True, False, True,
    ]  # fmt: skip


def test_omitted_claims_are_counted(told: Told) -> None:
    assert len(re.findall(r"\| {3}… and [1-9][0-9]* more\n", told.output)) == 4  # introspections


def test_omitted_calls_are_counted(told: Told) -> None:
    text = " ".join(told.output.split())
    assert "Omitted: 30 calls to an API, 2 token requests, 15 introspections," in text


@pytest.mark.parametrize(
    ("number", "sections"),
    [
        (1, ["7523, sections 2.1 and 3"]),
        (2, ["6750, section 2.1", "7662, section 2.1", "7662, section 2.2", "7523, section 2.2"]),
        (3, ["6749, sections 4.4 and 2.3.1"]),
        (4, ["6750, section 2.1"]),
        (5, ["6750, section 3.1"]),
        (6, ["6750, section 3)"]),
        (7, ["7662, section 2.2", "6750, section 3.1"]),
        (8, ["7662, section 2.1", "6749, section 2.3.1"]),
    ],
)
def test_each_chapter_names_its_rfcs(number: int, sections: list[str], told: Told) -> None:
    text = " ".join(chapter(told.output, number).split())
    for section in sections:
        assert f"RFC {section}" in text


def test_at_most_eight_characters_of_a_secret_are_shown(told: Told) -> None:
    long_ones = {secret for secret in told.secrets if len(secret) > 8}
    assert len(long_ones) > 15
    shortened = set(re.findall(r"([\w-]{6})…", told.output))
    assert len(shortened) > 8
    assert shortened <= {secret[:6] for secret in long_ones}  # the wiretap heard them all
    for secret in long_ones:
        pieces = (secret[start : start + 9] for start in range(len(secret) - 8))
        assert not any(piece in told.output for piece in pieces)


def test_there_is_no_colour_without_a_terminal(told: Told) -> None:
    assert "\x1b" not in told.output


def test_an_ascii_terminal_gets_colours_and_ctrl_c_stops_everything(
    marker: str, tmp_path: Path
) -> None:
    ours, terminal = pty.openpty()
    demo = subprocess.Popen(
        [sys.executable, "demo.py", "--explain"],
        cwd=clone(tmp_path / "clone"),
        env=environment(MARKER=marker, TERM="xterm", PYTHONIOENCODING="ascii"),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    output = read_until(ours, b"client -> API")
    os.killpg(demo.pid, signal.SIGINT)
    output += read_until(ours, b"everything has been stopped")
    os.close(ours)
    assert demo.wait(20) == 130
    assert b"Traceback" not in output
    assert b"\x1b[" in output
    assert b"assertion = eyJhbG?" in output
    assert processes(marker) == []


def read_until(terminal: int, text: bytes) -> bytes:
    """Return what the terminal shows, up to a text."""
    output = b""
    while text not in output:
        output += os.read(terminal, 1000)
    return output


@pytest.mark.parametrize("line", ["Starting everything", "  client -> ZITADEL", "8. The other API"])
def test_nothing_is_left_running_when_it_is_terminated(
    line: str, marker: str, tmp_path: Path
) -> None:
    demo = start(clone(tmp_path / "clone"), marker, "--explain")
    assert demo.stdout
    while not demo.stdout.readline().startswith(line):
        assert demo.poll() is None
    while len(processes(marker)) < 2:  # the demo and its first program
        assert demo.poll() is None
    time.sleep(0.2)
    demo.terminate()
    output, errors = demo.communicate(timeout=20)
    assert (demo.returncode, errors) == (143, "")
    assert "All calls" not in output
    assert left(marker) == []


def test_a_closed_pipe_causes_no_traceback(marker: str, tmp_path: Path) -> None:
    demo = start(clone(tmp_path / "clone"), marker, "--explain")
    assert demo.stdout and demo.stderr
    demo.stdout.readline()
    demo.stdout.close()
    assert demo.stderr.read() == ""
    assert demo.wait(60) == 1
    assert processes(marker) == []


def test_explain_rejects_use_env(tmp_path: Path) -> None:
    demo = start(clone(tmp_path / "clone"), "", "--explain", "--use-env")
    output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, output) == (2, "")
    assert "not allowed with argument --" in errors


# The lecture alone


def exchange(
    path: str, status: int = 200, *, form: dict[str, str] | None = None, **parts: Any
) -> Exchange:
    """Return an exchange; `parts` are the reason, the headers of both messages and the answer."""
    sent, answered = Message(), Message()
    for name, value in parts.get("headers", {}).items():
        sent[name] = value
    for name, value in parts.get("answer_headers", {}).items():
        answered[name] = value
    reason, answer = parts.get("reason", "OK"), parts.get("answer", {})
    return Exchange("POST", path, sent, form or {}, status, reason, answered, answer)


def jwt_bearer() -> Exchange:
    assertion = jwt.encode({"iss": "1"}, "s" * 32)
    grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return exchange("/oauth/v2/token", form={"grant_type": grant_type, "assertion": assertion})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_colours_unless_the_environment_says_otherwise(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Lecture().hear(jwt_bearer())
    assert "1. A token for a signed assertion" in terminal.getvalue()
    assert ("\x1b[" in terminal.getvalue()) == coloured


EVIL = "\x1b]0;title\x07\x9b1m\u202e\n"
SHOWN = r"\x1b]0;title\x07\x9b1m\u202e\n"
BASIC = base64.b64encode(f"{EVIL}:secret".encode()).decode()
CALL_OF_A_ROUTE = exchange("/api/private", headers={"Authorization": "Bearer x"})


@pytest.mark.parametrize(
    "exchanges",
    [
        [exchange("/oauth/v2/token", form={"grant_type": EVIL})],
        [exchange("/oauth/v2/token", form={EVIL: "x"}, status=400)],
        [exchange("/oauth/v2/token", headers={"Authorization": f"Basic {BASIC}"}, status=400)],
        [exchange("/oauth/v2/token", reason=EVIL, status=400)],
        [exchange("/oauth/v2/introspect", answer={"active": EVIL}), CALL_OF_A_ROUTE],
        [exchange("/api/private", 401, answer_headers={"WWW-Authenticate": EVIL})],
        [exchange("/api/private", 401, answer={"message": EVIL})],
    ],
)
def test_control_characters_never_reach_the_terminal(
    exchanges: list[Exchange], capsys: pytest.CaptureFixture[str]
) -> None:
    lecture = Lecture()
    for heard in exchanges:
        lecture.hear(heard)
    output = capsys.readouterr().out
    assert output.replace("\n", "").isprintable()
    assert r"\x9b1m\u202e" in output
    assert SHOWN in output or json.dumps(EVIL[:4])[1:-1] in output  # JSON has its own escapes


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    """Provide a proxy in front of a scripted ZITADEL."""
    with Proxy(Lecture(), upstream.base_url) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield proxy
        proxy.shutdown()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("127.0.0.1:{port}", 200),
        ("{zitadel}", 200),
        ("evil.example", 421),
        ("evil.example:{port}", 421),
        ("localhost", 421),
        ("localhost:1", 421),
        ("", 421),
        ("x@localhost", 421),
    ],
)
def test_the_proxy_answers_only_under_its_own_host_name(
    host: str, status: int, proxy: Proxy, upstream: Upstream
) -> None:
    port, zitadel = proxy.server_address[1], upstream.base_url.removeprefix("http://")
    headers = {"Host": host.format(port=port, zitadel=zitadel)}
    url = f"http://127.0.0.1:{port}/oauth/v2/introspect"
    answer = requests.post(url, headers=headers, data={"token": "x"}, timeout=10)
    assert answer.status_code == status
    assert len(upstream.forms) == (status == 200)
