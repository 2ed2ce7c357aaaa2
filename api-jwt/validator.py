# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Protect Flask views: ZITADEL says whether a request's access token is active."""

import functools
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flask import Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

Roles = str | Sequence[str | Sequence[str]] | None
Alternatives = list[set[str]]
View = Callable[..., Any]

ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
ENVIRON_KEY = "zitadel.token"

# In the request and not in `g`, which outlives the request inside `with
# app.app_context():`.
current_token = LocalProxy[dict[str, Any] | None](
    lambda: request.environ.get(ENVIRON_KEY) if has_request_context() else None
)
"""ZITADEL's answer about this request's token; falsy if the token wasn't checked."""


class Introspection(Protocol):
    """Whatever can tell whether a token is active."""

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token (RFC 7662, section 2.2).

        Raises:
            ConnectionError: there is no answer at the moment. The error may have an
                attribute `retry_after`, in seconds.
            PermissionError: this API's own request was rejected.
        """


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
        self.code = self.status_code = status_code
        self.error = {"error": error, "error_description": description}
        self.data = self.error  # what Flask-RESTX sends
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status_code < 500:
            parameter = "" if error == "unauthorized" else f', error="{error}"'
            headers["WWW-Authenticate"] = f'Bearer realm="api"{parameter}'
        body = json.dumps(self.error)
        response = Response(body, status_code, headers, mimetype="application/json")
        super().__init__(description, response)
        # What copy and pickle create another one from.
        self.args = (status_code, error, description, retry_after)


class ZitadelIntrospectTokenValidator:
    """A decorator for Flask views that asks ZITADEL about the request's access token.

        require_auth = ZitadelIntrospectTokenValidator(introspection)

        @app.get("/messages")
        @require_auth("read:messages")        # one role
        @require_auth(["editor", "admin"])    # or any one of these roles
        @require_auth([["editor", "admin"]])  # or all of these roles
        @require_auth()                       # or any active token; like @require_auth

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

    def __call__(self, roles: Roles | View = None) -> View:
        """Decorate a view. Raises ValueError if `roles` is empty or not text."""
        if callable(roles):
            return self._protect(_alternatives(None), roles)
        return functools.partial(self._protect, _alternatives(roles))

    def check(self, roles: Roles = None) -> None:
        """Check the current request, as in `before_request`; raise ValidatorError."""
        self._check(_alternatives(roles))

    def _protect(self, alternatives: Alternatives, view: View) -> View:
        @functools.wraps(view)
        def protected(*args: Any, **kwargs: Any) -> Any:
            self._check(alternatives)
            return current_app.ensure_sync(view)(*args, **kwargs)

        return protected

    def _check(self, alternatives: Alternatives) -> None:
        # An earlier check's identity must not outlive a check that fails.
        environ = request.environ
        environ.pop(ENVIRON_KEY, None)
        claims = self._introspect(_bearer_token(environ.get("HTTP_AUTHORIZATION", "")))
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

    def _introspect(self, token: str) -> dict[str, Any]:
        if self.introspection is None:
            raise RuntimeError("Assign the validator's `introspection` first.")
        try:
            return self.introspection.introspect(token)
        except ConnectionError as error:
            message = "Could not ask ZITADEL about an access token: %s."
            current_app.logger.error(message, error)
            raise ValidatorError(
                503,
                "temporarily_unavailable",
                "The access token can't be checked at the moment.",
                getattr(error, "retry_after", 5),
            ) from None
        except PermissionError as error:
            message = (
                "ZITADEL rejected this API's introspection request: %s. Check the "
                "address, this API's credentials and the clocks."
            )
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
    choices = [roles] if isinstance(roles, str) else roles
    if isinstance(choices, (list, tuple)) and choices:
        groups = [[group] if isinstance(group, str) else group for group in choices]
        if all(isinstance(group, (list, tuple)) and group for group in groups):
            names = [name for group in groups for name in group]
            if all(isinstance(name, str) and name for name in names):
                return [set(group) for group in groups]
    raise ValueError(f"roles must be text, or a list of texts or lists: {roles!r}")
