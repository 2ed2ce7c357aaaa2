"""How the management calls are checked and answered; projects.py and users.py have the calls."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from state import (
    Application,
    Json,
    Key,
    Organization,
    Project,
    RejectionError,
    RoleAssignment,
    State,
    T,
    Thing,
    User,
    json_object,
)

MANAGEMENT = "management/v1"
EXISTS = "V3-DKcYh"
LENGTH = "value length must be between 1 and 200 runes, inclusive"
PAGE = 100  # how much a list has at most
# All others are a 400.
STATUSES = {"already_exists": 409, "not_found": 404, "unauthenticated": 401}
MISSING: dict[type[Thing], tuple[str, ...]] = {
    Project: ("failed_precondition", "Project not found", "COMMAND-EbFMN"),
    User: ("not_found", "User could not be found", "COMMAND-bd4ir1mblj"),
    RoleAssignment: ("not_found", "User grant not found", "COMMAND-3M9sd"),
}
Handler = Callable[[State, Json], Json]
# By name: each call's method, path, required fields and handler.
CALLS: dict[str, tuple[str, str, tuple[str, ...], Handler]] = {}


def call(
    service: str, name: str, *required: str, method: str = "POST"
) -> Callable[[Handler], Handler]:
    """Register the function below as the handler of a call."""

    def register(handler: Handler) -> Handler:
        CALLS[name] = (method, f"/{service}/{name}", required, handler)
        return handler

    return register


def answer(state: State, name: str, header: str, content: bytes, in_path: Json) -> Json:
    """Check the caller and the fields, of which some may be in the path, then answer."""
    check_admin(state, header)
    method, _, required, handler = CALLS[name]
    fields = {} if method == "GET" else json_object(content)
    if fields is None:
        raise call_error("invalid_argument", "the body must be a JSON object")
    for path in required:
        check_field(f"{name}Request", fields, path)
    return handler(state, fields | in_path)


def check_field(name: str, fields: Json, path: str) -> None:
    """Reject a call in which a field is missing or of the wrong type."""
    value: Any = fields
    steps = path.split(".")
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    places = []
    for step in steps:
        capitalized = f"{step[0].upper()}{step[1:]}"
        places.append(f"{name}.{capitalized}")
        name += f"_{capitalized}"

    if value is None:
        raise invalid(places, "value is required")
    if not isinstance(value, list if path == "roleKeys" else str) or not 1 <= len(value) <= 200:
        raise invalid(places, LENGTH)


def invalid(places: list[str], problem: str) -> RejectionError:
    """Return the rejection of a field; `places` leads to it from the outermost message."""
    lines = [f"invalid {place}: embedded message failed validation" for place in places[:-1]]
    lines.append(f"invalid {places[-1]}: {problem}")
    return call_error("invalid_argument", " | caused by: ".join(lines))


def call_error(code: str, message: str, identifier: str = "", reason: str = "") -> RejectionError:
    """Return a rejection in the management calls' form."""
    body: Json = {"code": code, "message": message}
    if identifier:
        # The same detail again as a protocol buffer: field 1 the identifier, field 2 the message.
        texts = (b"\x0a", identifier.encode()), (b"\x12", message.encode())
        detail = b"".join(tag + bytes([len(text)]) + text for tag, text in texts)
        body["message"] = f"{message} ({identifier})"
        body["details"] = [
            {
                "type": "zitadel.v1.ErrorDetail",
                "value": base64.b64encode(detail).decode().rstrip("="),
                "debug": {"id": identifier, "message": message},
            }
        ]
    return RejectionError(STATUSES.get(code, 400), body, reason or message)


def check_admin(state: State, header: str) -> None:
    """Reject a call whose Authorization header doesn't contain an administrator's token."""
    if not header:
        raise call_error("unauthenticated", "auth header missing")
    scheme, _, text = header.partition(" ")
    token, problem = state.find_token(text if scheme.lower() == "bearer" else "")
    if token is None or problem:
        raise call_error("unauthenticated", "Errors.Token.Invalid", "AUTH-7fs1e", problem)
    if not token.user.is_admin:
        reason = f"service account {token.user.id} is not an administrator"
        raise call_error("not_found", "membership not found", "AUTHZ-cdgFk", reason)


# Parts of answers


def timestamp(moment: float | None = None) -> str:
    """Return a moment, now if none is given, in the form of RFC 3339."""
    at = datetime.fromtimestamp(time.time() if moment is None else moment, timezone.utc)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def dates(thing: Thing) -> Json:
    """Return a listed thing's dates."""
    return {"creationDate": timestamp(thing.created), "changeDate": timestamp(thing.created)}


def details(organization: Organization) -> Json:
    """Return the details of what was changed just now in an organization."""
    return {"sequence": "1", "changeDate": timestamp(), "resourceOwner": organization.id}


def page(wanted: object, listed: list[Json]) -> tuple[Json, list[Json]]:
    """Return what an answer tells of its page, and the page: newest first unless `asc` is set.

    Like ZITADEL's without what is zero or empty.
    """
    wanted = wanted if isinstance(wanted, dict) else {}
    numbers = [wanted.get("offset"), wanted.get("limit")]
    offset, limit = (n if isinstance(n, int) and n > 0 else 0 for n in numbers)
    limit = min(limit or PAGE, PAGE)
    ordered = listed if wanted.get("asc") else listed[::-1]
    total = {"totalResult": str(len(listed))} if listed else {}
    return {"appliedLimit": str(limit), **total}, ordered[offset : offset + limit]


def listing(name: str, fields: Json, listed: list[Json]) -> Json:
    """Return the answer to a list's call."""
    pagination, shown = page(fields.get("pagination"), listed)
    return {"pagination": pagination} | ({name: shown} if shown else {})


def older_listing(fields: Json, listed: list[Json]) -> Json:
    """Return the answer to the call of a list that is oldest first and asked with a `query`."""
    query = fields.get("query")
    _, shown = page({"asc": True, **(query if isinstance(query, dict) else {})}, listed)
    total = {"totalResult": str(len(listed))} if listed else {}
    return {"details": {"timestamp": timestamp(), **total}} | ({"result": shown} if shown else {})


def change_state(thing: Thing, state: str) -> str:
    """Activate, deactivate or lock something, and return when."""
    thing.state = state
    return timestamp()


# Parts of requests


def existing(state: State, kind: type[T], id_: str) -> T:
    """Return the thing that a call names by its id."""
    if found := state.find(kind, id=id_):
        return found
    raise call_error(*MISSING.get(kind, ("not_found", f"{kind.__name__} not found")))


def roles_of(project: Project, fields: Json) -> list[str]:
    """Return the call's roles, which must exist in the project."""
    roles: list[str] = [str(role) for role in fields["roleKeys"]]
    for role in roles:
        if role not in project.roles:
            reason = f"project {project.id} has no role '{role}'"
            message = "Errors.Project.Role.NotFound"
            raise call_error("failed_precondition", message, "COMMAND-mm9F4", reason)
    return roles


def expiry_of(fields: Json) -> float:
    """Return the call's expirationDate, which must be in the future."""
    text = fields.get("expirationDate", "0001-01-01T00:00:00Z")  # ZITADEL's default
    try:
        date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        date = None
    if date is None or date.tzinfo is None:
        raise call_error("invalid_argument", "the expirationDate is not an RFC 3339 time")
    if date <= datetime.now(timezone.utc):
        raise call_error("invalid_argument", "Errors.AuthNKey.ExpireBeforeNow", "DOMAIN-dv3t5")
    return date.timestamp()


def filter_of(fields: Json, kind: str, name: str, key: str) -> Any:
    """Return the value of one of a list's filters, None if it has no such filter."""
    queries = fields.get(kind)
    for query in queries if isinstance(queries, list) else []:
        if isinstance(query, dict) and isinstance(query.get(name), dict):
            return query[name].get(key)
    return None


def add_key(
    state: State, owner: Application | User, fields: Json, content: str, rest: Json
) -> Json:
    """Create a key pair; keep the public half and answer with a key file under `content`."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key = state.add(Key(owner, private_key.public_key(), expiry_of(fields)))
    key_file = json.dumps({"keyId": key.id, "key": pem.decode(), **rest}).encode()
    encoded = base64.b64encode(key_file).decode()
    return {"keyId": key.id, "creationDate": timestamp(), content: encoded}
