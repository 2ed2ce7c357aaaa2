# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Protect Flask views: ZITADEL says whether a request's access token is active."""

import functools
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from flask import Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException

from introspection import IntrospectionError, IntrospectionUnavailableError

Roles = str | Sequence[str | Sequence[str]] | None
Alternatives = list[set[str]]
P = ParamSpec("P")
R = TypeVar("R")

ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
ENVIRON_KEY = "zitadel.token"


def current_token() -> dict[str, Any]:
    """Return ZITADEL's answer about this request's token; empty if it wasn't checked.

    In another thread it is empty too: pass the dictionary on.
    """
    if not has_request_context():
        return {}

    claims: dict[str, Any] = request.environ.get(ENVIRON_KEY, {})
    return claims


class Introspection(Protocol):
    """Whatever can tell whether a token is active."""

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token (RFC 7662).

        Raises IntrospectionUnavailableError or IntrospectionRejectedError without one.
        """
        ...


class ValidatorError(HTTPException):
    """A rejected request, which is its own JSON response: no error handler is required.

    An app's `errorhandler(ValidatorError)` takes precedence; `errorhandler(401)` isn't
    called.

    Args:
        status_code: the HTTP status.
        error: the error code, one of RFC 6750, section 3.1, where that has one.
        description: a sentence for the caller.
        retry_after: seconds after which the caller may try again, for status 503.
    """

    def __init__(
        self,
        status_code: int,
        error: str,
        description: str,
        retry_after: int | None = None,
    ) -> None:
        self.error = {"error": error, "error_description": description}
        # Werkzeug reads `code`, the blog post's handler reads `status_code`, and
        # Flask-RESTX sends `data`.
        self.code = self.status_code = status_code
        self.data = self.error

        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status_code < 500:
            # RFC 6750, section 3.1: no error code if the request has no credentials.
            parameter = "" if error == "unauthorized" else f', error="{error}"'
            headers["WWW-Authenticate"] = f'Bearer realm="api"{parameter}'
        body = json.dumps(self.error)
        response = Response(body, status_code, headers, mimetype="application/json")
        super().__init__(description, response)
        # What copy and pickle recreate the exception from.
        self.args = (status_code, error, description, retry_after)


class ZitadelIntrospectTokenValidator:
    """A decorator for Flask views that asks ZITADEL about the request's access token.

        require_auth = ZitadelIntrospectTokenValidator(introspection)

        @app.get("/messages")
        @require_auth("read:messages")

        require_auth("read:messages")        # users with this role
        require_auth(["editor", "admin"])    # users with any of these roles
        require_auth([["editor", "admin"]])  # users with all of these roles
        require_auth()                       # any active token; like @require_auth

    Place it below the route decorator; above it, Flask registers the unprotected view.
    Only a role restricts a route: any user of the ZITADEL instance can get an active
    token.

    Args:
        introspection: what knows about tokens, such as a TokenIntrospection. As an
            attribute it may be assigned later, for example in an app factory, or be
            replaced, for example in a test.
    """

    def __init__(self, introspection: Introspection | None = None) -> None:
        self.introspection = introspection

    @overload
    def __call__(self, roles: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, roles: Roles = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def __call__(self, roles: Any = None) -> Any:
        """Decorate a view, or return a decorator that requires `roles`.

        Raises ValueError if they are empty, or neither text nor lists of text.
        """
        if callable(roles):
            return self._protect(_alternatives(None), roles)
        return functools.partial(self._protect, _alternatives(roles))

    def check(self, roles: Roles = None) -> None:
        """Check the current request, as in `before_request`.

        Raises ValidatorError, and ValueError as the decorator does.
        """
        self._authorize(_alternatives(roles))

    def _protect(self, alternatives: Alternatives, view: Any) -> Any:
        @functools.wraps(view)
        def protected(*args: Any, **kwargs: Any) -> Any:
            self._authorize(alternatives)
            # The view may be `async`.
            return current_app.ensure_sync(view)(*args, **kwargs)

        return protected

    def _authorize(self, alternatives: Alternatives) -> None:
        # Not in `g`, which outlives the request inside `with app.app_context():`. An
        # earlier check's claims must not outlive a check that fails.
        environ = request.environ
        environ.pop(ENVIRON_KEY, None)

        # Not `request.authorization`, which parses other schemes' credentials, too.
        token = _bearer_token(environ.get("HTTP_AUTHORIZATION", ""))
        claims = self._ask(token)

        # RFC 7662 makes `exp` optional: without it, ZITADEL's `active` decides.
        expiry = claims.get("exp", math.inf)
        is_alive = isinstance(expiry, (int, float)) and expiry > time.time()
        if claims.get("active") is not True or not is_alive:
            description = "The access token is not active."
            raise ValidatorError(401, "invalid_token", description)

        # Never from `scope`, where a personal access token lists roles that its user
        # doesn't have.
        roles = claims.get(ROLES_CLAIM)
        granted = set(roles) if isinstance(roles, dict) else set()
        if not any(group <= granted for group in alternatives):
            groups = [" and ".join(sorted(group)) for group in alternatives]
            description = f"This route requires the role {' or '.join(groups)}."
            raise ValidatorError(403, "insufficient_scope", description)

        environ[ENVIRON_KEY] = claims

    def _ask(self, token: str) -> dict[str, Any]:
        if self.introspection is None:
            raise RuntimeError("Assign the validator's `introspection` first.")

        try:
            return self.introspection.introspect(token)
        except IntrospectionUnavailableError as error:
            message = "Could not ask ZITADEL about an access token: %s."
            current_app.logger.error(message, error)
            description = "The access token can't be checked at the moment."
            raise ValidatorError(
                503, "temporarily_unavailable", description, error.retry_after
            ) from None
        except IntrospectionError as error:
            message = "ZITADEL rejected this API's introspection request: %s."
            current_app.logger.error(message, error)
            description = "The API can't check access tokens."
            raise ValidatorError(500, "server_error", description) from None


def _bearer_token(header: str) -> str:
    scheme, _, token = header.strip(" ").partition(" ")
    token = token.strip(" ")

    if scheme.lower() != "bearer":
        description = "An access token is required, as in Authorization: Bearer …"
        raise ValidatorError(401, "unauthorized", description)
    if not token:
        raise ValidatorError(400, "invalid_request", "The access token is missing.")
    if not B64TOKEN.fullmatch(token):
        raise ValidatorError(401, "invalid_token", "The access token is malformed.")

    return token


def _alternatives(roles: Roles) -> Alternatives:
    """Return sets of roles: the user must have all of one of them."""
    if roles is None:
        return [set()]

    groups = [_filled_list(group) for group in _filled_list(roles)]
    for group in groups:
        if not all(isinstance(name, str) and name for name in group):
            raise ValueError(f"roles must be text and not empty: {group!r}")
    return [set(group) for group in groups]


def _filled_list(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [value]

    # An empty list must never mean "everyone".
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"roles must be text, or a list of texts or lists: {value!r}")
    return value
