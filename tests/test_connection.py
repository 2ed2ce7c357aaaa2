"""What a failed connection means, and which proxy and certificates are used."""

from __future__ import annotations

import importlib.util
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
import requests

import keys
from programs import ROOT
from servers import Upstream


def load(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.replace("/", "_"), ROOT / file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


connection = load("tools/connection.py")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


def explained(url: str, timeout: float = 5) -> str:
    with pytest.raises(Exception) as raised:
        connection.session_for(url).get(url, timeout=timeout)
    return str(connection.explanation(raised.value, url, "ZITADEL_DOMAIN in .env"))


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """Accept connections and answer whatever comes with these bytes; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):  # the caller may hang up, or never call
                for part in answers:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(65536)
                        peer.sendall(part)
                        peer.shutdown(socket.SHUT_WR)
                        while peer.recv(65536):
                            pass

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


LOCAL = [
    "localhost", "LOCALHOST", "localhost.", "zitadel.localhost", "a.b.localhost.", "127.0.0.1",
    "127.1", "127.0.1", "127.255.255.254", "[::1]",
]  # fmt: skip
NOT_LOCAL = [
    "localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "128.0.0.1", "example.com",
    "[::2]", "10.0.0.1", "127.example.com", "xlocalhost",
]  # fmt: skip
DEFINITIONS = [
    file.relative_to(ROOT).as_posix()
    for pattern in ("*.py", "*/*.py")
    for file in sorted(ROOT.glob(pattern))
    if file.parent.name != "tests" and "LOOPBACK = " in file.read_text()
]


def test_each_definition_of_loopback_is_known() -> None:
    names = {Path(file).name for file in DEFINITIONS}
    assert names == {"introspection.py", "access_token.py", "settings.py", "connection.py"}


@pytest.mark.parametrize("file", DEFINITIONS)
@pytest.mark.parametrize("host", LOCAL + NOT_LOCAL)
def test_every_definition_of_loopback_accepts_the_same_addresses(file: str, host: str) -> None:
    definition = re.search(r"^LOOPBACK = (re\..+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert definition
    pattern: re.Pattern[str] = eval(definition[1])
    name = requests.compat.urlsplit(f"http://{host}:8080").hostname
    assert bool(pattern.fullmatch(name or "")) == (host in LOCAL)


@pytest.mark.parametrize("host", ["zitadel.localhost", "localhost", "127.0.0.1", "[::1]"])
def test_no_proxy_is_used_for_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:s3cret@127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert connection.session_for(f"http://{host}:8080").proxies == {}
    assert connection.through_proxy(f"http://{host}:8080") == ""
    assert connection.through_proxy("http://example.com") == " through the proxy 127.0.0.1:9"


def test_a_refused_connection_is_reported_in_the_systems_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = explained(f"http://127.0.0.1:{port}")
    assert "can't be reached (Connection refused): check whether the server is running" in told
    assert told.endswith("ZITADEL_DOMAIN in .env.")


def test_an_unknown_host_name_is_reported_in_the_systems_words() -> None:
    assert re.search(r"can't be reached \(.*(name|Name).*\)", explained("http://x.invalid"))


def test_the_error_that_the_caller_is_handling_is_not_taken_for_the_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        raise PermissionError(13, "another error")
    except PermissionError:
        assert "Connection refused" in explained(f"http://127.0.0.1:{port}")


def test_a_silent_server_didnt_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "didn't answer in time" in explained(url, timeout=0.3)


def test_http_is_suggested_only_where_http_was_answered() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        told = explained(f"https://127.0.0.1:{port}")
    assert "doesn't speak https" in told and "write http:// in ZITADEL_DOMAIN" in told


def test_http_is_suggested_only_on_this_machine() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(requests.exceptions.SSLError) as raised:
            connection.session_for(url).get(url, timeout=5)
    told = connection.explanation(raised.value, "https://example.com", "ZITADEL_DOMAIN in .env")
    assert "doesn't speak https" in told and "check the address and its port in" in told
    assert "http://" not in told


def test_a_tls_alert_never_suggests_dropping_encryption() -> None:
    handshake_failure = b"\x15\x03\x03\x00\x02\x02\x28"
    with answering(handshake_failure) as port:
        told = explained(f"https://127.0.0.1:{port}")
    assert "can't agree on an encrypted connection" in told and "ALERT_HANDSHAKE_FAILURE" in told
    assert "http://" not in told


def test_a_cut_off_handshake_never_suggests_dropping_encryption() -> None:
    with answering(b"", b"") as port:
        told = explained(f"https://127.0.0.1:{port}")
    assert "ended the connection instead of answering" in told and "http://" not in told


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ssl.SSLEOFError, None),
        (ssl.SSLZeroReturnError, None),
        (ssl.SSLError, "UNEXPECTED_EOF_WHILE_READING"),
    ],
)
def test_each_form_of_an_end_without_notice_is_known(
    kind: type[ssl.SSLError], reason: str | None
) -> None:
    error = kind(8, "what OpenSSL says")
    error.reason = reason  # type: ignore[assignment]
    told = connection.explanation(requests.exceptions.SSLError(error), "https://x.test", "y")
    assert f"instead of answering ({reason or 'what OpenSSL says'}): try again" in told


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_variable_that_names_no_file_of_certificates_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    told = explained("https://127.0.0.1:9")
    assert told.startswith(f"{variable} doesn't name a file with certificates")


def test_a_file_without_certificates_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with answering(b"") as port:
        told = explained(f"https://127.0.0.1:{port}")
    assert told.startswith("REQUESTS_CA_BUNDLE doesn't name a file with certificates")


def test_an_unwritable_key_log_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing/keys.log"))
    with answering(b"") as port:
        told = explained(f"https://127.0.0.1:{port}")
    assert told.startswith("SSLKEYLOGFILE names a file that can't be written")


def test_a_socks_proxy_without_pysocks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    told = explained("https://example.com")
    assert "pip install 'requests[socks]'" in told and "socks5://127.0.0.1:9" in told


def test_a_proxy_that_refuses_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cret@127.0.0.1:{port}")
        told = explained("https://example.com")
    assert f"through the proxy 127.0.0.1:{port}, which answered 407 Proxy" in told
    assert told.endswith("check the proxy, and its user and password, in HTTPS_PROXY.")
    assert "s3cret" not in told


def test_an_unknown_authority_is_reported(tmp_path: Path) -> None:
    context, _ = keys.tls(tmp_path)
    upstream = Upstream(context)
    told = explained(upstream.base_url)
    upstream.stop()
    assert "is rejected (self" in told and "set REQUESTS_CA_BUNDLE to a file" in told


VERIFY = {
    9: "or set this machine's clock",
    10: "or set this machine's clock",
    18: "set REQUESTS_CA_BUNDLE",
    19: "set REQUESTS_CA_BUNDLE",
    20: "set REQUESTS_CA_BUNDLE",
    21: "set REQUESTS_CA_BUNDLE",
    26: "issued anew",  # unsuitable certificate purpose
    62: "use a name that it contains",
    64: "use a name that it contains",
    85: "issued anew",  # missing authority key identifier
}


@pytest.mark.parametrize(("code", "remedy"), VERIFY.items())
def test_each_fault_of_a_certificate_has_its_remedy(code: int, remedy: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    told = connection.explanation(requests.exceptions.SSLError(error), "https://x.test", "y")
    assert remedy in told and "(what OpenSSL says)" in told


def test_with_a_bundle_the_authority_is_to_be_added_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 20, "unable to get local issuer certificate"
    told = connection.explanation(requests.exceptions.SSLError(error), "https://x.test", "y")
    assert told.endswith(
        "add its authority's certificate to the file that REQUESTS_CA_BUNDLE names."
    )
