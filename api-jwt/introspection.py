# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Ask ZITADEL about an access token: token introspection, RFC 7662."""

import json
import os
import re
import ssl
import threading
import time
from email.utils import formatdate
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
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
            may be silent. Their sum is about how long the answer's body may take.
        max_concurrent: how many introspections may be under way; further ones fail
            immediately. Set below the server's number of threads, it leaves threads for
            other routes while ZITADEL is slow.

    Raises:
        ValueError: `url` is not an http or https address without credentials.
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
        is_web = address.scheme in ("http", "https") and address.hostname
        if not is_web or "@" in address.netloc:
            raise ValueError("url must be like https://example.com/introspect.")

        self.url = url
        self.client_authentication = client_authentication
        self.headers = {"Host": host_header} if host_header else {}
        # The certificate is for ZITADEL's own domain, not for an internal address.
        self._domain = urlsplit(f"//{host_header}").hostname if host_header else None
        self._max_concurrent = max_concurrent

        # Only the token differs: preparing the rest once saves a third of the CPU time.
        headers = {**self.headers, "Content-Type": "application/x-www-form-urlencoded"}
        self._request = requests.Request(
            "POST", url, headers=headers, hooks={"response": _close_unless_200}
        ).prepare()

        # The environment is read here, since reading it for each request is expensive.
        # Without `stream`, a body would be read whole before its size is checked.
        environment = requests.Session().merge_environment_settings(
            url, proxies={}, stream=True, verify=None, cert=None
        )
        unchanging = {"timeout": timeout, "allow_redirects": False}
        self._options: dict[str, Any] = {**environment, **unchanging}
        # What is meant for this machine must not leave it through a proxy.
        if LOOPBACK.fullmatch(address.hostname or ""):
            self._options["proxies"] = {}
        self._where = url
        if proxy := select_proxy(url, self._options["proxies"]):
            self._where += f" through the proxy {proxy.rpartition('@')[2]}"

        self._timeouts = 0
        self._connections = self._connect()

    @property
    def identity(self) -> str:
        """What an answer depends on besides the token; "" without a client id."""
        client_id = getattr(self.client_authentication, "client_id", None)
        return json.dumps([self.url, self.headers, client_id]) if client_id else ""

    def introspect(self, token: str) -> dict[str, Any]:
        """Return ZITADEL's answer about the token (RFC 7662, section 2.2).

        Raises:
            IntrospectionUnavailableError: ZITADEL can't answer at the moment.
            IntrospectionRejectedError: ZITADEL rejects this API's own request.
        """
        # With its parent's connections, a forked process would get the answers to
        # others' tokens, and its parent's threads never give their slots back here.
        if self._connections.process != os.getpid():
            self._connections = self._connect()
        _, session, slots, probe = self._connections
        # While ZITADEL is silent, one caller at a time finds out when it is back; more
        # would occupy every thread.
        if self._timeouts >= SILENT_AFTER:
            slots = probe

        deadline = time.monotonic() + sum(self._options["timeout"])
        if not slots.acquire(blocking=False):
            count = 1 if slots is probe else self._max_concurrent
            raise IntrospectionUnavailableError(f"{count} requests are under way")
        try:
            with self._send(session, token) as response:
                is_ok = response.status_code == 200
                claims = _json_object(response, deadline) if is_ok else {}
        except (OSError, ValueError, HTTPError) as error:  # requests doesn't wrap all
            cause = _cause(error)
            if isinstance(cause, (requests.Timeout, TimeoutError)):
                self._timeouts += 1
            # Others may quote what was sent.
            words = f": {cause}" if isinstance(cause, OSError) else ""
            reason = f"{type(error).__name__}{words} at {self._where}"
            raise IntrospectionUnavailableError(reason) from error
        finally:
            slots.release()

        self._timeouts = 0
        if is_ok:
            return claims
        raise _error(response, self._where)

    def _send(self, session: requests.Session, token: str) -> requests.Response:
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

    def _connect(self) -> "_Connections":
        session = requests.Session()
        # Nothing sends cookies back; kept, they would fill the memory.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # A pool smaller than the number of threads closes connections after each use.
        adapter = HTTPAdapter(pool_maxsize=self._max_concurrent)
        adapter.poolmanager.connection_pool_kw["server_hostname"] = self._domain
        session.mount(f"{urlsplit(self.url).scheme}://", adapter)

        slots, probe = map(threading.Semaphore, (self._max_concurrent, 1))
        return _Connections(os.getpid(), session, slots, probe)


class _Connections(NamedTuple):
    """What a process owns: built whole, since its threads may arrive together."""

    process: int
    session: requests.Session
    slots: threading.Semaphore
    probe: threading.Semaphore


def _close_unless_200(response: requests.Response, **_: Any) -> None:
    # Otherwise requests reads a redirect's body, whatever its size.
    if response.status_code != 200:
        response.close()


def _json_object(response: requests.Response, deadline: float) -> dict[str, Any]:
    content = bytearray()
    # read1() returns what has arrived, so that an answer that drips in meets the
    # deadline. The size is up to the caller: ZITADEL repeats the scopes of a token.
    while part := response.raw.read1(8192, decode_content=True):
        content += part
        if len(content) > MAX_BYTES:
            raise requests.RequestException(f"more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("timed out")

    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise requests.RequestException("no JSON object")
    return answer


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


def _was_cut_off(error: BaseException) -> bool:
    # For an end without notice, OpenSSL 3.5 and newer has only this reason.
    is_end = getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING"
    # Not every ConnectionError, since one may also be refused.
    ends = (BrokenPipeError, ConnectionAbortedError, ConnectionResetError)
    tls_ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return is_end or isinstance(error, (*ends, *tls_ends))
