"""The check of a client assertion (RFC 7523), with the exact reason when it fails."""

from __future__ import annotations

import time

import jwt
from jwt.utils import base64url_decode

from answers import Json, json_object, shown
from state import Application, State, User

AHEAD_SECONDS = 1
AGE_SECONDS = 3600


class BadAssertionError(Exception):
    """The assertion proves nothing; the text continues the sentence "refused, …"."""


class NotAnAssertionError(BadAssertionError):
    """What was sent isn't even in the form of a JWT."""


def check_assertion(
    assertion: str, kind: type[Application] | type[User], state: State, issuer: str
) -> Application | User:
    """Return whose assertion it is, an API's or a service user's as `kind` asks."""
    header, claims = parts(assertion)
    owner, identity = verify_signature(assertion, header, kind, state)
    if claims.get("iss") != claims.get("sub"):
        raise BadAssertionError("the assertion's iss and sub differ")
    if claims.get("iss") != identity:
        problem = f"the assertion's iss is {shown(claims.get('iss'))} and not '{identity}'"
        raise BadAssertionError(f"{problem}, whose key it is")
    audience = claims.get("aud")
    if audience != issuer and not (isinstance(audience, list) and issuer in audience):
        raise BadAssertionError(f"the assertion's audience is {shown(audience)} and not '{issuer}'")
    verify_times(claims)
    return owner


def parts(assertion: str) -> tuple[Json, Json]:
    """Return the header and the claims, unverified."""
    pieces = assertion.split(".")
    if len(pieces) != 3:
        raise NotAnAssertionError("the assertion is no JWT")
    try:
        header, claims = (json_object(base64url_decode(piece)) for piece in pieces[:2])
    except ValueError:
        header = claims = None
    if claims is None:
        raise NotAnAssertionError("the assertion is no JWT")
    if header is None:
        raise BadAssertionError("the assertion's header can't be read")
    return header, claims


def verify_signature(
    assertion: str, header: Json, kind: type[Application] | type[User], state: State
) -> tuple[Application | User, str]:
    """Return the owner of the key that signed, and the id that the owner signs as."""
    if header.get("alg") != "RS256":
        raise BadAssertionError("the assertion's alg is not RS256")
    if "kid" not in header:
        raise BadAssertionError("the assertion has no kid, which is the key file's keyId")
    kid = header["kid"]
    key = state.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise BadAssertionError(f"no key has the id that is the assertion's kid, {shown(kid)}")
    if key.removed:
        raise BadAssertionError(f"key {key.id} no longer counts: {key.removed}")
    if not isinstance(key.owner, kind):
        owner = "an API" if isinstance(key.owner, Application) else "a service user"
        wanted = "an API's" if kind is Application else "a service user's"
        raise BadAssertionError(f"key {key.id} is that of {owner}, where {wanted} belongs")
    if key.expires <= time.time():
        raise BadAssertionError(f"key {key.id} has expired")
    try:
        jwt.PyJWS().decode(assertion, key.public_key, algorithms=["RS256"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        problem = f"the assertion's signature is not by key {key.id}, which its kid names"
        raise BadAssertionError(problem) from None
    if isinstance(key.owner, Application):
        return key.owner, key.owner.client_id
    return key.owner, key.owner.id


def verify_times(claims: Json) -> None:
    """Refuse an assertion that is expired, too old, or from the future."""
    for name in ("iat", "exp"):
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise BadAssertionError(f"the assertion has no {name} that is a number")
    now = time.time()
    if claims["iat"] > now + AHEAD_SECONDS:
        distance = seconds(claims["iat"] - int(now))
        raise BadAssertionError(f"the assertion's iat is {distance} ahead of this clock")
    if claims["iat"] < now - AGE_SECONDS:
        distance = seconds(int(now) - claims["iat"])
        raise BadAssertionError(f"the assertion's iat is {distance} ago, and more than an hour")
    if claims["exp"] <= now:
        distance = seconds(int(now) - claims["exp"])
        raise BadAssertionError(f"the assertion expired {distance} ago by this clock")


def seconds(distance: float) -> str:
    """Return a distance, which may be any number at all, as the log shows it."""
    return f"{distance:.0f} s" if distance < 10**10 else "an eternity"
