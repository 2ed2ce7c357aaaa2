# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Ask ZITADEL about an access token: token introspection, RFC 7662."""

import json
import os
import re
import ssl
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

MAX_BYTES = 1_000_000
SILENT_AFTER = 3  # timeouts in a row
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")


class IntrospectionError(Exception):
    """There is no answer about the token; the message says why."""


class IntrospectionRejectedError(IntrospectionError):
    """ZITADEL rejects this API's own request: its address or credentials are wrong."""


class IntrospectionUnavailableError(IntrospectionError):
    """ZITADEL can't answer now, but may do so after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class TokenIntrospection:
    """ZITADEL's introspection endpoint, asked by one API. Threads may share it.

    Args:
        url: the introspection endpoint.
        client_authentication: how this API authenticates there, for requests' `auth=`.
        host_header: ZITADEL's own domain, if `url` is an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent. Reading the answer's body may take about their sum.
        max_concurrent: how many introspections may be under way; more fail immediately.
            Set it below the server's number of threads, so that other routes keep some.

    Raises:
        ValueError: `url` is not an http or https address, or contains credentials.
    """

    def __init__(
        self,
        url: str,
        client_authentication: AuthBase,
        *,
        host_header: str | None = None,
        timeout: tuple[float, float] = (3, 10),
        max_concurrent: int = 100,
    ) -> None:
        address = urlsplit(url)
        host = address.hostname or ""
        if address.scheme not in ("http", "https") or not host or "@" in address.netloc:
            raise ValueError("url must be like https://example.com/introspect.")

        self.url = url
        self.client_authentication = client_authentication
        self.headers = {"Host": host_header} if host_header else {}

        # Only the token differs: preparing the rest once saves a third of the CPU time.
        headers = {**self.headers, "Content-Type": "application/x-www-form-urlencoded"}
        self._request = requests.Request("POST", url, headers).prepare()

        # The environment is read here, since reading it for each request is expensive.
        # Without `stream`, a body would be read whole before its size is checked.
        environment = requests.Session().merge_environment_settings(
            url, proxies={}, stream=True, verify=None, cert=None
        )
        # What is meant for this machine must not leave it through a proxy.
        if LOOPBACK.fullmatch(host):
            environment["proxies"] = {}
        self._options: dict[str, Any] = {**environment, "timeout": timeout}

        proxy = (select_proxy(url, environment["proxies"]) or "").rpartition("@")[2]
        self._where = f"{url} through the proxy {proxy}" if proxy else url

        self._timeouts = 0
        self._max_concurrent = max_concurrent
        self._session = _Session(max_concurrent, self.headers)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled, as for another process."""
        raise TypeError("Create a TokenIntrospection in each process instead.")

    @property
    def identity(self) -> str:
        """What an answer depends on besides the token; "" without a client id."""
        client_id = getattr(self.client_authentication, "client_id", None)
        return json.dumps([self.url, self.headers, client_id]) if client_id else ""

    def introspect(self, token: str) -> dict[str, Any]:
        """Return ZITADEL's answer (RFC 7662, section 2.2); raise IntrospectionError."""
        # On its parent's connections, a forked process would read answers about other
        # tokens, and the slots that its parent's threads hold are never released here.
        if self._session.process != os.getpid():
            self._session = _Session(self._max_concurrent, self.headers)
        session = self._session

        # While ZITADEL is silent, one caller at a time finds out when it is back; more
        # would occupy every thread.
        is_silent = self._timeouts >= SILENT_AFTER
        slots = session.probe if is_silent else session.slots

        deadline = time.monotonic() + sum(self._options["timeout"])
        if not slots.acquire(blocking=False):
            busy = f"{self._max_concurrent} requests are under way"
            raise IntrospectionUnavailableError(
                "ZITADEL is silent" if is_silent else busy
            )
        try:
            with self._send(session, token) as response:
                is_ok = response.status_code == 200
                claims = _json_object(response, deadline) if is_ok else None
        except (OSError, ValueError, HTTPError) as error:  # requests doesn't wrap all
            # What keeps or logs the error must not find the credentials in it.
            vars(error).update(request=None)
            cause = _cause(error)
            if isinstance(cause, (requests.Timeout, TimeoutError)):
                self._timeouts += 1

            # The messages of other exceptions may quote what was sent.
            words = f": {cause}" if isinstance(cause, OSError) else ""
            reason = f"{type(error).__name__}{words} at {self._where}"
            raise IntrospectionUnavailableError(reason) from error
        finally:
            slots.release()

        self._timeouts = 0
        if claims is None:
            raise _error(response, self._where)
        return claims

    def _send(self, session: "_Session", token: str) -> requests.Response:
        request = self._request.copy()
        # As text, since requests takes a tenth of the CPU time to encode a form.
        request.prepare_body(urlencode({"token": token}), None)
        request.prepare_auth(self.client_authentication)

        try:
            return session.send(request, **self._options)
        except requests.ConnectionError as error:
            if not _was_cut_off(_cause(error)):
                raise

        # ZITADEL may close an idle connection just as it is reused. The others in the
        # pool may be dead as well.
        session.close()
        return session.send(request, **self._options)


class _Session(requests.Session):
    """What a process owns: built whole, since its threads may arrive together."""

    def __init__(self, size: int, headers: dict[str, str]) -> None:
        super().__init__()
        self.process = os.getpid()
        self.slots, self.probe = map(threading.Semaphore, (size, 1))

        # Nothing sends cookies back; kept, they would fill the memory.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # A pool smaller than the number of threads closes connections after each use.
        adapter = HTTPAdapter(pool_maxsize=size)
        # The certificate is for ZITADEL's own domain, not for an internal address.
        domain = urlsplit(f"//{headers.get('Host', '')}").hostname
        adapter.poolmanager.connection_pool_kw["server_hostname"] = domain

        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect. `allow_redirects=False` would still read its body."""


def _json_object(response: requests.Response, deadline: float) -> dict[str, Any]:
    content = bytearray()
    # read1() returns what has arrived, so that an answer that trickles in meets the
    # deadline. The caller chooses its size: ZITADEL repeats the scopes of a token.
    while part := response.raw.read1(8192, decode_content=True):
        content += part
        if len(content) > MAX_BYTES:
            raise requests.RequestException(f"more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("timed out")

    with suppress(ValueError, RecursionError):
        if isinstance(answer := json.loads(content), dict):
            return answer
    raise requests.RequestException("no JSON object")


def _error(response: requests.Response, where: str) -> IntrospectionError:
    status, headers = response.status_code, response.headers
    reason = f"status {status} from {where}"

    if not 200 <= status < 500 or status in (408, 429):
        seconds = headers.get("Retry-After", "")
        retry_after = int(seconds) if re.fullmatch("[0-9]{1,9}", seconds) else 5
        return IntrospectionUnavailableError(reason, retry_after)

    if "Location" in headers:
        reason += f", a redirect to {headers['Location']!r}"
    date, now = headers.get("Date"), formatdate(usegmt=True)
    reason += f" (ZITADEL's clock: {date!r}, this machine's: {now!r})"
    return IntrospectionRejectedError(reason)


def _cause(error: BaseException) -> BaseException:
    """Return what the operating system or OpenSSL raised, and requests wraps."""
    # Not `__context__`, which leads on to what the caller itself may be handling.
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            return _cause(inner)
    return error


def _was_cut_off(cause: BaseException) -> bool:
    # For an end without notice, OpenSSL 3.5 and newer has only this reason.
    is_end = getattr(cause, "reason", "") == "UNEXPECTED_EOF_WHILE_READING"
    # Not every ConnectionError, since one may also be refused.
    ends = (BrokenPipeError, ConnectionAbortedError, ConnectionResetError)
    return is_end or isinstance(cause, (*ends, ssl.SSLEOFError, ssl.SSLZeroReturnError))
