# ZITADEL access tokens in Flask 2026.11, service-user-jwt

"""An access token that a service account fetches and renews, for requests' `auth=`."""

import copy
import json
import os
import re
import ssl
import threading
import time
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")
MAX_BYTES = 1_000_000
RETRY_SECONDS = 5
TEMPORARY = (requests.ConnectionError, requests.Timeout, HTTPError)


class TokenError(requests.RequestException):
    """ZITADEL issued no access token; the message says what happened.

    Attributes:
        status: the HTTP status of ZITADEL's answer, None without an answer.
        error: the error code in it (RFC 6749, section 5.2), None without one.
        description: the `error_description` in it, None without one.
        temporary: True if a later try may succeed, since ZITADEL is away; False if
            somebody has to do something, for example because a key was revoked.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error: str | None = None,
        description: str | None = None,
        temporary: bool = False,
        response: requests.Response | None = None,
    ) -> None:
        super().__init__(message, response=response)
        self.status = status
        self.error = error
        self.description = description
        self.temporary = temporary


class AccessToken(AuthBase):
    """Add an access token to each request, fetched on first use and renewed in time.

    Threads may share it: one of them renews, and the others use the previous token
    while that is valid, or else wait. An API's 401 doesn't trigger a new fetch: call
    `discard()` and try once more. Subclasses implement `grant()`.

    Args:
        token_url: ZITADEL's token endpoint.
        host_header: ZITADEL's own domain, if `token_url` is an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent. Reading the answer's body may take about their sum.

    Raises:
        ValueError: `token_url` is not an http or https address, or has credentials.
    """

    def __init__(
        self,
        token_url: str,
        *,
        host_header: str | None = None,
        timeout: tuple[float, float] = (3, 10),
    ) -> None:
        address = urlsplit(token_url)
        host = address.hostname or ""
        if address.scheme not in ("http", "https") or not host or "@" in address.netloc:
            raise ValueError("token_url must be like https://example.com/token.")

        self.token_url = token_url
        self._headers = {"Host": host_header} if host_header else {}
        # The certificate is for ZITADEL's own domain, not for an internal address.
        self._domain = urlsplit(f"//{host_header or ''}").hostname

        environment = requests.Session().merge_environment_settings(
            token_url, proxies={}, stream=None, verify=None, cert=None
        )
        # What is meant for this machine must not leave it through a proxy.
        if LOOPBACK.fullmatch(host):
            environment["proxies"] = {}
        self._options: dict[str, Any] = {**environment, "timeout": timeout}

        proxy = select_proxy(token_url, environment["proxies"]) or ""
        proxy = proxy.rpartition("@")[2]
        self._where = f"{token_url} through the proxy {proxy}" if proxy else token_url

        self._current = _Token()
        self._locks: dict[int, threading.Lock] = {}
        self._failures = 0
        self._failure = TokenError("")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the Authorization header to `request` and return it; raise TokenError."""
        request.headers["Authorization"] = f"Bearer {self.token()}"
        return request

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, as for another process: it contains a credential."""
        raise TypeError(f"Create a {type(self).__name__} in each process instead.")

    @property
    def expires_at(self) -> float:
        """When the current token expires, in Unix seconds; 0 without one."""
        return self._current.expires_at

    def token(self) -> str:
        """Return an access token that hasn't expired; raise TokenError."""
        # A count, since an error kept here would keep all earlier ones alive.
        current, failures = self._current, self._failures
        if current.is_fresh():
            return current.value

        # One lock for each process, since one held during a fork stays locked.
        lock = self._locks.setdefault(os.getpid(), threading.Lock())
        # While one thread renews, the others use the token while it is valid, or wait.
        if not lock.acquire(blocking=not current.is_valid()):
            return current.value

        try:
            current = self._current
            if current.is_fresh():
                return current.value
            if self._failures != failures:  # of the thread that held the lock
                raise copy.copy(self._failure) from self._failure.__cause__
            return self._renew()
        finally:
            lock.release()

    def discard(self, token: str | None = None) -> None:
        """Forget a token that ZITADEL has revoked; the next use fetches another.

        With the rejected `token`, one that another thread has fetched since is kept.
        """
        if token in (None, self._current.value):
            self._current = _Token()

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the token request's form, and its client authentication or None."""
        raise NotImplementedError

    def _renew(self) -> str:
        try:
            self._current = token = self._fetch()
        except TokenError as error:
            token = self._current  # or what discard() has left
            if not token.is_valid():
                self._failures += 1
                # A copy for the threads that wait, without this one's traceback.
                self._failure = copy.copy(error)
                self._failure.__cause__ = error.__cause__
                raise

            # Not every request should wait for ZITADEL, or ask it in vain.
            token.renew_at = time.time() + RETRY_SECONDS

        return token.value

    def _fetch(self) -> "_Token":
        asked_at = time.time()
        deadline = time.monotonic() + sum(self._options["timeout"])
        # Unlike a session, an adapter reads no ~/.netrc, follows no redirect, and
        # leaves a body unread until its size is checked.
        adapter = HTTPAdapter()
        adapter.poolmanager.connection_pool_kw["server_hostname"] = self._domain

        try:
            request = requests.Request("POST", self.token_url, self._headers)
            request.data, request.auth = self.grant()
            with adapter.send(request.prepare(), **self._options) as response:
                answer = _json_object(response, deadline)
            # What keeps or logs an error must not find the credentials in it.
            del response.request
        except (OSError, ValueError, HTTPError) as error:  # requests doesn't wrap all
            vars(error).update(request=None)
            cause = _cause(error)
            # The messages of other exceptions may quote what was sent.
            words = f": {cause}" if isinstance(cause, OSError) else ""
            message = f"{type(error).__name__}{words} at {self._where}"

            is_rejected = isinstance(cause, ssl.SSLError) and not _was_cut_off(cause)
            is_temporary = isinstance(error, TEMPORARY) and not is_rejected
            raise TokenError(message, temporary=is_temporary) from error

        texts = {name: text for name, text in answer.items() if isinstance(text, str)}
        token, lifetime = texts.get("access_token", ""), answer.get("expires_in", 0)
        is_lifetime = isinstance(lifetime, (int, float)) and 0 < lifetime < 1e9
        status = response.status_code

        if status == 200 and B64TOKEN.fullmatch(token) and is_lifetime:
            return _Token(token, asked_at, lifetime)

        description = texts.get("error_description")
        # ZITADEL 4.13 and older rejects an assertion with 500 and Errors.Internal.
        is_away = status >= 500 and description != "Errors.Internal"
        raise TokenError(
            f"status {status} from {self._where}",
            status=status,
            error=texts.get("error"),
            description=description,
            temporary=is_away or status in (408, 429),
            response=response,
        )


class _Token:
    """A token and when it was asked for, is to be renewed, and expires."""

    def __init__(self, value: str = "", asked_at: float = 0, lifetime: float = 0):
        self.value = value
        self.asked_at = asked_at
        self.expires_at = asked_at + lifetime
        # After 90 % of its lifetime, at most a minute early.
        self.renew_at = self.expires_at - min(60, lifetime / 10)

    def is_fresh(self) -> bool:
        return self.is_valid() and time.time() < self.renew_at

    def is_valid(self) -> bool:
        # The lower bound forces renewal if the clock was set back.
        return self.asked_at <= time.time() < self.expires_at


def _json_object(response: requests.Response, deadline: float) -> dict[str, Any]:
    content = bytearray()
    # read1() doesn't wait for more, so an answer that trickles in meets the deadline.
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
    return answer if isinstance(answer, dict) else {}


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
