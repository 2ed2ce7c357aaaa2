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
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, ProtocolError

MAX_BYTES = 1_000_000
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")


class IntrospectionUnavailableError(ConnectionError):
    """ZITADEL can't answer at the moment; the message says why.

    Attributes:
        retry_after: seconds after which it may be asked again.
    """

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class IntrospectionRejectedError(PermissionError):
    """ZITADEL rejects this API's own request: its address or credentials are wrong."""


class TokenIntrospection:
    """ZITADEL's introspection endpoint, asked by one API. Threads may share it.

    Args:
        url: the introspection endpoint.
        client_authentication: how this API authenticates there, for requests' `auth=`.
        host: the `Host` header, for a ZITADEL reached under an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent. Their sum is about how long the whole answer may take.
        limit: how many introspections may be under way at once; further ones fail
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
        host: str | None = None,
        timeout: tuple[float, float] = (3, 10),
        limit: int = 100,
    ) -> None:
        address = urlsplit(url)
        is_web = address.scheme in ("http", "https") and address.hostname
        if not is_web or "@" in address.netloc:
            raise ValueError("url must be like https://example.com/introspect.")
        self.url = url
        self.client_authentication = client_authentication
        self._headers = {"Host": host} if host else {}
        self._timeout = timeout
        self._limit = limit
        self._request = requests.Request(
            "POST", url, headers=self._headers, hooks={"response": _close_unless_200}
        ).prepare()
        self._session: requests.Session
        self._start()

    @property
    def identity(self) -> str:
        """What an answer depends on besides the token; "" without a client id."""
        client_id = getattr(self.client_authentication, "client_id", None)
        return json.dumps([self.url, self._headers, client_id]) if client_id else ""

    def introspect(self, token: str) -> dict[str, Any]:
        """Return ZITADEL's answer about the token (RFC 7662, section 2.2).

        Raises:
            IntrospectionUnavailableError: ZITADEL can't answer at the moment.
            IntrospectionRejectedError: ZITADEL rejects this API's own request.
        """
        # A forked process must not share its parent's connections: it would get the
        # answers to others' tokens.
        if self._process != os.getpid():
            self._start()
        content = bytearray()
        deadline = time.monotonic() + sum(self._timeout)
        slots = self._slots
        if not slots.acquire(blocking=False):
            raise IntrospectionUnavailableError(f"{self._limit} requests are under way")
        try:
            with self._send(token) as response:
                if response.status_code == 200:
                    content = _read(response, deadline)
        except (OSError, ValueError, HTTPError) as error:  # requests doesn't wrap all
            name = type(error).__name__
            hint = "; see REQUESTS_CA_BUNDLE" if name in ("OSError", "SSLError") else ""
            reason = f"{name} at {self._where}{hint}"
            raise IntrospectionUnavailableError(reason) from None
        finally:
            slots.release()
        if response.status_code != 200:
            raise _error(response, self._where)
        return self._claims(content)

    def _send(self, token: str) -> requests.Response:
        request = self._request.copy()
        request.prepare_body({"token": token}, None)
        request.prepare_auth(self.client_authentication)
        try:
            return self._session.send(request, **self._options)
        except requests.ConnectionError as error:
            if not _found_dead(error):
                raise
        # ZITADEL may close an idle connection just as it is reused. The others in the
        # pool may be dead as well.
        self._session = self._new_session()
        return self._session.send(request, **self._options)

    def _claims(self, content: bytearray) -> dict[str, Any]:
        if len(content) > MAX_BYTES:
            reason = f"more than {MAX_BYTES} bytes from {self._where}"
            raise IntrospectionUnavailableError(reason)
        try:
            claims = json.loads(content)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise IntrospectionUnavailableError(f"no JSON object from {self._where}")
        return claims

    def _start(self) -> None:
        session = self._new_session()
        # The environment is read here, since reading it for each request is expensive.
        options = session.merge_environment_settings(self.url, {}, True, None, None)
        # What is meant for this machine must not leave it through a proxy.
        if LOOPBACK.fullmatch(urlsplit(self.url).hostname or ""):
            options["proxies"] = {}
        proxy = select_proxy(self.url, options["proxies"])
        self._where = self.url
        if proxy:
            self._where += f" through the proxy {proxy.rpartition('@')[2]}"
        self._options: dict[str, Any] = {
            "timeout": self._timeout,
            "allow_redirects": False,
            **options,
        }
        self._slots = threading.Semaphore(self._limit)
        self._session = session
        # Last: another thread that sees it uses all of the above.
        self._process = os.getpid()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self._limit))
        return session


def _close_unless_200(response: requests.Response, **_: Any) -> None:
    # After a 1xx the real answer is still to come, and the next caller would get it.
    # After a redirect requests itself would read the body, whatever its size.
    if response.status_code != 200:
        response.close()


def _read(response: requests.Response, deadline: float) -> bytearray:
    """Return the body, cut off soon after MAX_BYTES: a caller can make it large."""
    content = bytearray()
    while len(content) <= MAX_BYTES:
        # Return what has arrived, so that an answer that drips in meets the deadline.
        part = response.raw.read1(8192, decode_content=True)
        if not part:
            break
        if time.monotonic() > deadline:
            raise requests.Timeout
        content += part
    return content


def _error(response: requests.Response, where: str) -> OSError:
    """Return the error for an answer whose status isn't 200."""
    status, headers = response.status_code, response.headers
    reason = f"status {status} from {where}"
    if not 200 <= status < 500 or status in (408, 429):
        seconds = headers.get("Retry-After", "")
        retry_after = int(seconds) if re.fullmatch("[0-9]{1,9}", seconds) else 5
        return IntrospectionUnavailableError(reason, retry_after)
    if "Location" in headers:
        reason += f", a redirect to {headers['Location']!r}"
    date, now = headers.get("Date"), formatdate(usegmt=True)
    return IntrospectionRejectedError(
        f"{reason} (ZITADEL's clock: {date!r}, this machine's: {now!r})"
    )


def _found_dead(error: BaseException | None) -> bool:
    while error and not isinstance(error, (ProtocolError, ssl.SSLEOFError)):
        error = error.__context__
    return error is not None
