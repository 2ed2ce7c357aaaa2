# ZITADEL access tokens in Flask 2026.11, service-user-jwt

"""An access token that a service account fetches and renews, for requests' `auth=`."""

import copy
import json
import re
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")
RETRY_SECONDS = 5
# By OpenSSL's code for what is wrong with a certificate.
CERTIFICATE_FIXES = {
    9: "it isn't valid yet, or this machine's clock is behind",
    10: "it has expired, or this machine's clock is ahead",
    62: "use a host name that it contains",
    64: "use an address that it contains",
}
UNKNOWN_AUTHORITY_FIX = "set REQUESTS_CA_BUNDLE to its certification authority's file"


class TokenError(requests.RequestException):
    """ZITADEL issued no access token; the message says why and what to do.

    Attributes:
        status: the HTTP status of ZITADEL's answer, None without an answer.
        error: the error code in it (RFC 6749, section 5.2), None without one.
        temporary: True if a later try may succeed, since ZITADEL is away; False if
            somebody has to do something, for example because a key was revoked.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error: str | None = None,
        temporary: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.temporary = temporary


class AccessToken(AuthBase):
    """Add an access token to each request, fetched on first use and renewed in time.

    Threads may share it: one of them fetches, and the others wait for its token or its
    error. Subclasses implement `grant()`. An API's 401 doesn't trigger a new fetch; a
    program that gets one can call `discard()` and try once more.

    Args:
        token_url: ZITADEL's token endpoint.
        host: the `Host` header, for a ZITADEL reached under an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent.

    Raises:
        ValueError: `token_url` is not an http or https address without credentials.
    """

    HELP: ClassVar[dict[str, str]] = {}
    """What ZITADEL's `error_description` means, and what to do."""

    def __init__(
        self,
        token_url: str,
        *,
        host: str | None = None,
        timeout: tuple[float, float] = (3, 10),
    ) -> None:
        address = urlsplit(token_url)
        is_web = address.scheme in ("http", "https") and address.hostname
        if not is_web or "@" in address.netloc:
            raise ValueError("token_url must be like https://example.com/token.")
        self._token_url = token_url
        self._headers = {"Host": host} if host else {}
        self._timeout = timeout
        # What is meant for this machine must not leave it through a proxy.
        is_local = LOOPBACK.fullmatch(address.hostname or "")
        no_proxies = {"http": "", "https": ""}
        self._proxies = no_proxies if is_local else get_environ_proxies(token_url)
        self._lock = threading.Lock()
        self._token = ""
        self._fetched_at = self._renew_at = self._expires_at = 0.0
        self._failed_at = 0.0
        self._failure = TokenError("")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header to `request` and return it; raise TokenError."""
        request.headers["Authorization"] = f"Bearer {self.token()}"
        return request

    def token(self) -> str:
        """Return an access token that is valid for a while longer; raise TokenError."""
        arrived_at = time.monotonic()
        with self._lock:
            if self._failed_at > arrived_at:  # in the thread that held the lock
                raise copy.copy(self._failure)
            # The lower bound forces renewal if the clock was set back.
            if not self._fetched_at <= time.time() < self._renew_at:
                try:
                    self._fetch()
                except TokenError as error:
                    now = time.time()
                    is_valid = self._fetched_at <= now < self._expires_at
                    if not (error.temporary and is_valid):
                        self._failed_at, self._failure = time.monotonic(), error
                        raise
                    # Not every request should wait for ZITADEL while it is away.
                    self._renew_at = min(now + RETRY_SECONDS, self._expires_at)
            return self._token

    def discard(self, token: str | None = None) -> None:
        """Forget the token, which ZITADEL ended early; the next use fetches another.

        With the rejected `token`, one that another thread has fetched since is kept.
        """
        with self._lock:
            if token in (None, self._token):
                self._renew_at = self._expires_at = 0.0

    def origin(self) -> str:
        """Return, as part of a sentence, where the token is from and how long valid."""
        seconds = self._expires_at - time.time()
        return f"access token from {self._token_url}, valid for {seconds:.0f} seconds"

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the token request's form, and its client authentication or None."""
        raise NotImplementedError

    def _fetch(self) -> None:
        asked_at = time.time()
        answer = self._post(*self.grant())
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        is_token = isinstance(token, str) and B64TOKEN.fullmatch(token)
        if not (is_token and isinstance(lifetime, (int, float)) and 0 < lifetime < 1e9):
            message = f"{self._token_url} issued no access token."
            raise TokenError(message, status=200)
        self._token, self._fetched_at = str(token), asked_at
        self._expires_at = asked_at + lifetime
        # After 90 % of its lifetime, at most a minute early.
        self._renew_at = self._expires_at - min(60, lifetime / 10)

    def _post(self, form: dict[str, str], auth: AuthBase | None) -> dict[str, Any]:
        try:
            response = requests.post(
                self._token_url,
                data=form,
                headers=self._headers,
                # Without any, requests would use ~/.netrc.
                auth=auth or (lambda request: request),
                timeout=self._timeout,
                allow_redirects=False,
                proxies=self._proxies,
            )
        except (OSError, ValueError) as error:  # requests doesn't wrap all of them
            raise self._unanswered(error) from None
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        if response.status_code == 200 and isinstance(answer, dict):
            return answer
        raise self._rejected(response, answer if isinstance(answer, dict) else {})

    def _unanswered(self, error: Exception) -> TokenError:
        """Return the error that explains why there is no answer."""
        url = self._token_url
        cause: BaseException | None = error
        while cause and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            fix = CERTIFICATE_FIXES.get(cause.verify_code, UNKNOWN_AUTHORITY_FIX)
            reason = cause.verify_message.rstrip(".")
            return TokenError(f"The certificate of {url} is invalid ({reason}): {fix}.")
        if type(error) is OSError:
            return TokenError("REQUESTS_CA_BUNDLE doesn't name a file of certificates.")
        if isinstance(error, requests.exceptions.SSLError):
            message = f"{url} doesn't support https; should it be http://?"
            # A load balancer whose servers are away cuts the handshake off, too.
            return TokenError(message, temporary="EOF" in str(error))
        proxy = select_proxy(url, self._proxies)
        via = f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""
        message = f"ZITADEL can't be reached at {url}{via} ({type(error).__name__})."
        return TokenError(message, temporary=True)

    def _rejected(
        self, response: requests.Response, answer: dict[str, Any]
    ) -> TokenError:
        """Return the error that explains an answer without a token."""
        status, code = response.status_code, answer.get("error")
        error = code if isinstance(code, str) else None
        if message := self.HELP.get(str(answer.get("error_description"))):
            message += _clock_difference(response)
        elif status >= 500 or status in (408, 429):
            message = f"ZITADEL is temporarily unavailable (status {status})."
            return TokenError(message, status=status, error=error, temporary=True)
        elif error:
            message = f"ZITADEL rejected the token request (status {status})."
        else:
            message = (
                f"{self._token_url} is not ZITADEL's token endpoint (status {status}): "
                "the domain must be exactly ZITADEL's own. localhost and 127.0.0.1 "
                "differ."
            )
        return TokenError(message, status=status, error=error)


def _clock_difference(response: requests.Response) -> str:
    try:
        date = parsedate_to_datetime(response.headers["Date"])
        seconds = time.time() - date.timestamp()
    except (KeyError, ValueError, OverflowError):
        return ""
    if abs(seconds) < 2:  # the header has whole seconds
        return ""
    direction = "ahead of" if seconds > 0 else "behind"
    return f" This machine's clock is {abs(seconds):.0f} s {direction} ZITADEL's."
