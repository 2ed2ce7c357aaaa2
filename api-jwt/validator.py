"""Protect Flask routes: each request's access token is introspected at ZITADEL (RFC 7662)."""

import functools
import json
import logging
import math
import os
import re
import ssl
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from typing import Any

import requests
from flask import Response, current_app, has_request_context, request
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import ProtocolError
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

Roles = str | Sequence[str | Sequence[str]] | None
Alternatives = list[set[str]] | None
View = Callable[..., Any]

ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
ENVIRON_KEY = "zitadel.token"

logger = logging.getLogger(__name__)

# In the request and not in `g`, which outlives the request inside `with app.app_context():`.
current_token = LocalProxy[dict[str, Any] | None](
    lambda: request.environ.get(ENVIRON_KEY) if has_request_context() else None
)
"""What ZITADEL said of this request's token. Without a check it counts as false."""


class ValidatorError(HTTPException):
    """A refusal that is its own JSON response: no error handler has to be registered.

    An app's `errorhandler(ValidatorError)` wins; `errorhandler(401)` is not consulted for it.

    Args:
        status_code: the HTTP status.
        error: the error code, of RFC 6750 section 3.1 where that has one.
        description: a sentence for whoever called.
        retry_after: seconds after which the caller may try again, for status 503.
    """

    def __init__(self, status_code: int, error: str, description: str, retry_after: str = ""):
        super().__init__(description)
        self.code = self.status_code = status_code
        self.error = {"error": error, "error_description": description}
        self.headers = {"Retry-After": retry_after} if retry_after else {}
        if status_code < 500:
            parameter = "" if error == "unauthorized" else f', error="{error}"'
            self.headers["WWW-Authenticate"] = f'Bearer realm="api"{parameter}'

    def get_response(self, environ: Any = None, scope: Any = None) -> Response:
        """Return the JSON response."""
        body = json.dumps(self.error)
        return Response(body, self.status_code, self.headers, mimetype="application/json")


class ZitadelIntrospectTokenValidator:
    """A decorator for Flask views that asks ZITADEL whether the request's token is active.

        require_auth = ZitadelIntrospectTokenValidator(introspection_url, client_authentication)

        @app.get("/messages")
        @require_auth("read:messages")        # one role
        @require_auth(["editor", "admin"])    # or: any one of these roles
        @require_auth([["editor", "admin"]])  # or: all of these roles
        @require_auth()                       # or: any active token; same as @require_auth

    It stands below the route decorator: above it, Flask registers the unprotected view.
    Without a role it admits every service user of the ZITADEL instance, since each can get a
    token for any project. A role is what closes a route.

    Args:
        introspection_url: ZITADEL's introspection endpoint.
        client_authentication: how this API authenticates there, as requests' `auth=` takes it.
        timeout: seconds to connect to each of ZITADEL's addresses, seconds that it may be silent.
        cache: where answers about active tokens are kept, an object like cachelib's; by default
            nowhere. Needs introspection_cache.py, and a `client_id` of `client_authentication`.
        cache_seconds: for how long at most; so long a revoked token or role may still pass.
    """

    def __init__(
        self,
        introspection_url: str,
        client_authentication: AuthBase,
        timeout: tuple[float, float] = (3, 10),
        cache: Any = None,
        cache_seconds: float = 30,
    ) -> None:
        self._url = introspection_url
        self._client_authentication = client_authentication
        self._timeout = timeout
        self._open_session()
        self._cache = None
        if cache is not None:
            # Here, so that an API without a cache needn't copy the file.
            name = "introspection_cache"
            module = import_module(f"{__package__}.{name}" if __package__ else name)
            client_id = getattr(client_authentication, "client_id", None)
            self._cache = module.IntrospectionCache(
                cache, cache_seconds, introspection_url, client_id
            )

    def __call__(self, roles: Roles | View = None) -> View:
        """Decorate a view. Raises ValueError if `roles` is empty or holds anything but text."""
        if callable(roles):
            return self._protect(None, roles)
        return functools.partial(self._protect, _alternatives(roles))

    def check(self, roles: Roles = None) -> None:
        """Check the current request, as in `before_request`. Raises ValidatorError to refuse it."""
        self._check(_alternatives(roles))

    def _protect(self, alternatives: Alternatives, view: View) -> View:
        @functools.wraps(view)
        def protected(*args: Any, **kwargs: Any) -> Any:
            self._check(alternatives)
            return current_app.ensure_sync(view)(*args, **kwargs)

        return protected

    def _check(self, alternatives: Alternatives) -> None:
        request.environ.pop(ENVIRON_KEY, None)
        claims = self._claims(_bearer_token())
        expiry = claims.get("exp", math.inf)
        expired = type(expiry) not in (int, float) or not expiry > time.time()
        if claims.get("active") is not True or expired:
            raise ValidatorError(401, "invalid_token", "The access token is not active.")
        # Not from `scope`, where a personal access token lists roles that its user doesn't have.
        roles = claims.get(ROLES_CLAIM)
        held = set(roles) if isinstance(roles, dict) else set()
        if alternatives is not None and not any(wanted <= held for wanted in alternatives):
            wanted = " or ".join(" and ".join(sorted(group)) for group in alternatives)
            raise ValidatorError(403, "insufficient_scope", f"This needs the role {wanted}.")
        request.environ[ENVIRON_KEY] = claims

    def _claims(self, token: str) -> dict[str, Any]:
        if self._cache is None:
            return self._introspect(token)
        claims: dict[str, Any] | None = self._cache.get(token)
        if claims is None:
            asked_at = time.time()
            claims = self._introspect(token)
            self._cache.set(token, claims, asked_at)
        return claims

    def _introspect(self, token: str) -> dict[str, Any]:
        try:
            with self._post(token) as response:
                # Closes the connection of any other answer: to a proxy's 1xx belongs one more,
                # which the next caller must not get.
                content = response.content if response.status_code == 200 else b""
        except (OSError, ValueError) as error:  # requests' own ones and a few that it lets through
            where = "ZITADEL_DOMAIN, and for its certificate REQUESTS_CA_BUNDLE"
            raise _unavailable(f"{type(error).__name__}; see {where}") from None
        status = response.status_code
        if not 200 <= status < 500 or status in (408, 429):
            raise _unavailable(f"status {status}", response.headers.get("Retry-After", ""))
        if status != 200:
            logger.error(
                "ZITADEL refuses this API's own request with status %d: check ZITADEL_DOMAIN, "
                "ZITADEL_INTROSPECTION_URL, the API's credentials and its clock (ZITADEL's: %r, "
                "this machine's: %r).",
                status,
                response.headers.get("Date"),
                formatdate(usegmt=True),
            )
            raise ValidatorError(500, "server_error", "The API can't check access tokens.")
        try:
            claims = json.loads(content)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise _unavailable("the answer is no JSON object")
        return claims

    def _open_session(self) -> None:
        self._process = os.getpid()
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=100))

    def _post(self, token: str, repeat: bool = True) -> requests.Response:
        if self._process != os.getpid():
            self._open_session()  # a forked process would read its parent's answers
        try:
            return self._session.post(
                self._url,
                data={"token": token},
                auth=self._client_authentication,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
        except requests.ConnectionError as error:
            # ZITADEL may close an idle connection just as it is used again, and others with it.
            if repeat and _found_dead(error):
                self._open_session()
                return self._post(token, repeat=False)
            raise


def _alternatives(roles: Roles) -> Alternatives:
    """Return the sets of roles of which one must be held whole; None if no role is needed."""
    if roles is None:
        return None
    choices = [roles] if isinstance(roles, str) else roles
    if isinstance(choices, (list, tuple)) and choices:
        groups = [[choice] if isinstance(choice, str) else choice for choice in choices]
        if all(isinstance(group, (list, tuple)) and group for group in groups):
            if all(isinstance(role, str) and role for group in groups for role in group):
                return [set(group) for group in groups]
    raise ValueError(f"roles must be text, or a list of texts or of lists of texts: {roles!r}")


def _bearer_token() -> str:
    scheme, _, token = request.headers.get("Authorization", "").strip(" ").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer":
        raise ValidatorError(401, "unauthorized", "An access token is needed.")
    if not token:
        raise ValidatorError(400, "invalid_request", "The access token is missing.")
    if not B64TOKEN.fullmatch(token):
        raise ValidatorError(401, "invalid_token", "The access token is malformed.")
    return token


def _found_dead(error: BaseException | None) -> bool:
    while error and not isinstance(error, (ProtocolError, ssl.SSLEOFError)):
        error = error.__context__
    return error is not None


def _unavailable(reason: str, retry_after: str = "") -> ValidatorError:
    logger.error("ZITADEL can't be asked about an access token: %s.", reason)
    seconds = retry_after if re.fullmatch("[0-9]{1,9}", retry_after) else "5"
    description = "The access token can't be checked at the moment."
    return ValidatorError(503, "temporarily_unavailable", description, seconds)
