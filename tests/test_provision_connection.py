"""provision.py where ZITADEL can't be reached: addresses, TLS certificates, proxies."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import tools.zitadel
from keys import tls
from programs import free_port
from provisioning import TOKEN, Setup
from servers import DISCOVERY, Upstream


def test_an_unreachable_zitadel_is_reported(offline: Setup) -> None:
    output = offline.run(status=2)
    assert f"{offline.domain} can't be reached (Connection refused): check whether" in output
    assert "proxy" not in output


def test_a_zitadel_that_does_not_answer_in_time_is_reported(
    offline: Setup, scripted_zitadel: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_zitadel.answer({}, delay=0.5)
    monkeypatch.setattr(tools.zitadel, "TIMEOUTS", (1, 0.1))
    output = offline.run(status=2)
    assert f"{offline.domain} didn't answer in time: check --domain, or try again." in output


def test_https_to_a_plain_http_port_is_reported(offline: Setup, upstream: Upstream) -> None:
    output = offline.run(status=2, domain=upstream.base_url.replace("http:", "https:"))
    assert "write http:// in --domain" in output


def test_plain_http_to_an_https_port_is_reported(offline: Setup, tmp_path: Path) -> None:
    upstream = Upstream(tls(tmp_path)[0])
    output = offline.run(status=2, domain=upstream.base_url.replace("https:", "http:"))
    upstream.stop()
    assert "can't be reached" in output and "the address in --domain" in output


@pytest.mark.parametrize(
    ("variable", "bundle", "told"),
    [
        (
            "REQUESTS_CA_BUNDLE",
            "",
            "is rejected (self-signed certificate): set REQUESTS_CA_BUNDLE to a file",
        ),
        ("REQUESTS_CA_BUNDLE", "{wrong}", "to the file that REQUESTS_CA_BUNDLE names"),
        ("CURL_CA_BUNDLE", "{wrong}", "to the file that CURL_CA_BUNDLE names"),
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "REQUESTS_CA_BUNDLE doesn't name a file with cert"),
        ("CURL_CA_BUNDLE", os.devnull, "CURL_CA_BUNDLE doesn't name a file with certificates"),
        ("REQUESTS_CA_BUNDLE", "{right}", "doesn't accept the administrator's token"),
    ],
)
def test_a_certificate_is_trusted_only_if_its_file_is_named(
    variable: str, bundle: str, told: str, offline: Setup, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    context, right = tls(tmp_path)
    _, wrong = tls(other, "127.0.0.2")
    upstream = Upstream(context)
    upstream.paths[DISCOVERY] = {"issuer": upstream.base_url}
    upstream.answer({"code": "unauthenticated"}, 401)

    bundles = {"REQUESTS_CA_BUNDLE": "", variable: bundle.format(right=right, wrong=wrong)}
    output = offline.run(status=2, domain=upstream.base_url, **bundles)

    upstream.stop()
    assert told in output and "/nowhere.pem" not in output


@pytest.mark.parametrize(
    ("host", "days", "told"),
    [
        ("127.0.0.1", (-2, -1), "is rejected (certificate has expired): renew it, or"),
        ("127.0.0.1", (1, 2), "set this machine's clock if it isn't"),
        ("127.0.0.2", (-1, 1), "use a name that it contains"),
    ],
)
def test_each_problem_with_a_certificate_has_its_own_remedy(
    offline: Setup, tmp_path: Path, host: str, days: tuple[int, int], told: str
) -> None:
    context, certificate = tls(tmp_path, host, days)
    upstream = Upstream(context)
    bundle = {"REQUESTS_CA_BUNDLE": str(certificate)}
    output = offline.run(status=2, domain=upstream.base_url, **bundle)
    upstream.stop()
    assert f"The certificate of {upstream.base_url} is rejected (" in output and told in output
    assert "REQUESTS_CA_BUNDLE" not in output


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_a_loopback_address_is_never_reached_through_a_proxy(
    offline: Setup, upstream: Upstream, host: str
) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), upstream.base_url)
    offline.run(status=2, domain=f"http://{host}:{free_port()}", NO_PROXY="", **proxies)
    assert upstream.forms == []


@pytest.mark.parametrize("status", [407, 502])
def test_a_zitadel_behind_a_proxy_is_reached_through_it(
    offline: Setup, upstream: Upstream, status: int
) -> None:
    domain = "http://zitadel.example"
    upstream.paths[f"{domain}{DISCOVERY}"] = {"issuer": domain}
    upstream.answer(b"", status)
    proxy = upstream.base_url.replace("//", "//someone:s3cret@")
    output = offline.run(status=2, domain=domain, HTTP_PROXY=proxy)
    address = upstream.base_url.removeprefix("http://")
    assert f"can't answer now through the proxy {address} (status {status})" in output
    assert upstream.authorizations == [None, f"Bearer {TOKEN}"]
    assert "warning: http://zitadel.example is not encrypted" in output
    assert "s3cret" not in output


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("prefix", ["http://someone:s3cret@", "someone:s3cret@", "http://"])
def test_an_unreachable_proxy_is_named_without_its_password(
    offline: Setup, scheme: str, prefix: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    proxy = {f"{scheme.upper()}_PROXY": f"{prefix}{address}"}
    output = offline.run(status=2, domain=f"{scheme}://zitadel.example", **proxy)
    assert re.search(f"can't be reached through the proxy \\S*{address} \\(", output)
    assert "s3cret" not in output


def test_a_proxy_that_rejects_the_connection_is_reported(
    offline: Setup, upstream: Upstream
) -> None:
    upstream.answer(raw=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    output = offline.run(status=2, domain="https://zitadel.example", HTTPS_PROXY=upstream.base_url)
    assert "which answered " in output and "check the proxy" in output
