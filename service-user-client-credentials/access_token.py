"""An access token of a service user that renews itself, as requests' `auth=` takes it."""

import re
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import requests
from requests import PreparedRequest
from requests.auth import AuthBase

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


class TokenError(Exception):
    """ZITADEL gave no access token; the message says why and what to do."""


class AccessToken(AuthBase):
    """Add an access token to each request; fetch it when it is first needed and before it ends.

    Safe to share between threads: one of them fetches, and the others wait for its token or share
    its error. A subclass says with `grant()` how it asks for the token. An API's refusal is never
    a reason to fetch again: the API has the last word on a token.

    Args:
        token_url: ZITADEL's token endpoint.
        timeout: seconds to connect to each of ZITADEL's addresses, seconds that it may be silent.
    """

    REMEDIES: ClassVar[dict[str, str]] = {}
    """What to do about a refusal, by ZITADEL's `error_description`."""

    def __init__(self, token_url: str, timeout: tuple[float, float] = (3, 10)) -> None:
        self._token_url = token_url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._token = ""
        self._fetched_at = 0.0
        self._life = 0.0
        self._failed_at = 0.0
        self._failure = ""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header to `request` and hand it back. Raises TokenError."""
        request.headers["Authorization"] = f"Bearer {self.token()}"
        return request

    def token(self) -> str:
        """Return an access token that is still good for a while. Raises TokenError."""
        arrived_at = time.monotonic()
        with self._lock:
            if self._failed_at > arrived_at:  # in the thread that was waited for
                raise TokenError(self._failure)
            # It is renewed a tenth of its life early, and a minute at most. The lower bound renews
            # it after a clock was set back.
            usable = self._life - min(60, self._life / 10)
            if not self._fetched_at <= time.time() < self._fetched_at + usable:
                try:
                    self._fetch()
                except TokenError as error:
                    self._failed_at, self._failure = time.monotonic(), str(error)
                    raise
            return self._token

    def origin(self) -> str:
        """Say where the token came from and how long it lives."""
        seconds = self._fetched_at + self._life - time.time()
        return f"access token from {self._token_url}; it lives for {seconds:.0f} seconds"

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form of the token request, and the client authentication if it needs one."""
        raise NotImplementedError

    def _fetch(self) -> None:
        form, authentication = self.grant()
        asked_at = time.time()
        answer = self._post(form, authentication)
        token, life = answer.get("access_token"), answer.get("expires_in")
        if (
            not isinstance(token, str)
            or not B64TOKEN.fullmatch(token)
            or not isinstance(life, (int, float))
            or not 0 < life < 1e9
        ):
            raise TokenError(f"{self._token_url} gave no access token: check ZITADEL_TOKEN_URL.")
        self._token, self._fetched_at, self._life = token, asked_at, life

    def _post(self, form: dict[str, str], authentication: AuthBase | None) -> dict[str, Any]:
        url = self._token_url
        try:
            response = requests.post(
                url,
                data=form,
                # With none at all, requests would take a password out of ~/.netrc.
                auth=authentication or (lambda request: request),
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (OSError, ValueError) as error:  # requests' own ones and a few that it lets through
            if "CERTIFICATE_VERIFY_FAILED" in str(error) or type(error) is OSError:
                raise TokenError(
                    f"The certificate of {url} isn't trusted: name the file of its authority in "
                    "REQUESTS_CA_BUNDLE."
                ) from None
            if isinstance(error, requests.exceptions.SSLError):
                raise TokenError(
                    f"{url} doesn't speak https: correct ZITADEL_DOMAIN in .env, with http:// "
                    "instead of https:// perhaps."
                ) from None
            raise TokenError(
                f"ZITADEL can't be reached at {url} ({type(error).__name__}): start it, or correct "
                "ZITADEL_DOMAIN in .env."
            ) from None
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if response.status_code == 200 and isinstance(answer, dict):
            return answer
        raise TokenError(self._explain(response, answer))

    def _explain(self, response: requests.Response, answer: object) -> str:
        status = response.status_code
        refusal = answer if isinstance(answer, dict) else {}
        remedy = self.REMEDIES.get(str(refusal.get("error_description")))
        if remedy:
            return f"{remedy}{_clock_difference(response)}"
        if status >= 500 or status in (408, 429):
            return f"ZITADEL can't answer at the moment (status {status}): try again later."
        if "error" in refusal:
            return (
                f"ZITADEL refuses the token request (status {status}): check ZITADEL_TOKEN_URL "
                "and this service user's credentials in .env."
            )
        return (
            f"{self._token_url} is not ZITADEL's token endpoint (status {status}): ZITADEL_DOMAIN "
            "in .env must be the scheme and domain that ZITADEL itself uses, and for it localhost "
            "and 127.0.0.1 are not the same."
        )


def _clock_difference(response: requests.Response) -> str:
    try:
        seconds = time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return ""
    if abs(seconds) < 2:  # the header has whole seconds
        return ""
    direction = "ahead of" if seconds > 0 else "behind"
    return f" This machine's clock is {abs(seconds):.0f} s {direction} ZITADEL's."
