"""What local-zitadel remembers, in memory only, and how it rejects a request."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

Json = dict[str, Any]
# Growing with the clock, so that a restart doesn't give an id a second time.
ids = itertools.count(time.time_ns() // 10)


class RejectionError(Exception):
    """An error answer, and the reason for the log, which ZITADEL keeps to itself."""

    def __init__(self, status: int, body: Json, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.reason = reason


def printable(text: object) -> str:
    """Return a text that others sent with whatever a terminal might obey as backslash escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def json_object(text: str | bytes) -> Json | None:
    """Return the JSON object that the text is, None if it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def digest(secret: str) -> bytes:
    """Return what is stored of a secret or token: enough to recognize it, useless to a thief.

    They are long and random, so that a slow hash would add nothing.
    """
    return hashlib.sha256(secret.encode()).digest()


@dataclass(eq=False, kw_only=True)
class Thing:
    """Anything with an id. `removed` says why it is gone, for the log.

    `state` is ACTIVE, INACTIVE, or for a locked service account LOCKED.
    """

    id: str = field(default_factory=lambda: str(next(ids)))
    created: float = field(default_factory=time.time)
    removed: str = ""
    state: str = "ACTIVE"

    @property
    def is_active(self) -> bool:
        """Whether it is neither deactivated nor locked."""
        return self.state == "ACTIVE"


@dataclass(eq=False)
class Organization(Thing):
    """An organization."""

    name: str
    appends_domain: bool = False  # to login names: the policy userLoginMustBeDomain

    @property
    def domain(self) -> str:
        """Return its primary domain."""
        return f"{self.name.lower().replace(' ', '-')}.localhost"


@dataclass(eq=False)
class Project(Thing):
    """A project with its role keys, and the organizations it is granted to."""

    name: str
    organization: Organization
    roles: list[str] = field(default_factory=list)
    granted_to: list[Organization] = field(default_factory=list)


@dataclass(eq=False)
class Application(Thing):
    """An API of a project. It authenticates with a key or with a secret."""

    name: str
    project: Project
    uses_key: bool
    secret_digest: bytes = b""
    client_id: str = field(default_factory=lambda: str(next(ids)))

    @property
    def problem(self) -> str:
        """Why it may not introspect, "" if it may."""
        for name, thing in (
            ("API", self),
            ("project", self.project),
            ("organization", self.project.organization),
        ):
            if not thing.is_active:
                return f"the {name} {thing.id} is deactivated"
        return ""


@dataclass(eq=False)
class User(Thing):
    """A service account."""

    username: str
    name: str
    organization: Organization
    is_admin: bool = False
    gets_jwts: bool = False
    secret_digest: bytes = b""

    @property
    def login_name(self) -> str:
        """Return the name that is unique in the instance, and the client id."""
        suffix = f"@{self.organization.domain}" if self.organization.appends_domain else ""
        return f"{self.username}{suffix}"


@dataclass(eq=False)
class Key(Thing):
    """The public half of a key pair."""

    owner: Application | User
    public_key: rsa.RSAPublicKey
    expires: float


@dataclass(eq=False)
class Token(Thing):
    """An access token or a personal access token."""

    user: User
    expires: float
    is_personal: bool = False
    audience: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)


@dataclass(eq=False)
class RoleAssignment(Thing):
    """The roles that a user has in a project, and the organization that assigned them."""

    user: User
    project: Project
    organization: Organization
    roles: list[str]


T = TypeVar("T", bound=Thing)


class State:
    """Everything that has been created."""

    def __init__(self) -> None:
        self._things: dict[str, Thing] = {}
        self._tokens: dict[bytes, Token] = {}
        self.organization = self.add(Organization("ZITADEL"))
        self.signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.signing_key_id = str(next(ids))

    def add(self, thing: T) -> T:
        """Remember a thing and return it."""
        self._things[thing.id] = thing
        return thing

    def all(self, kind: type[T]) -> list[T]:
        """Return all things of a kind that are still there, oldest first."""
        things = self._things.values()
        return [thing for thing in things if isinstance(thing, kind) and not thing.removed]

    def find(self, kind: type[T], **values: object) -> T | None:
        """Return the thing of a kind whose attributes have these values."""
        for thing in self.all(kind):
            if all(getattr(thing, name) == value for name, value in values.items()):
                return thing
        return None

    def key(self, key_id: object) -> Key | None:
        """Return the key with this id, even if it was removed."""
        found = self._things.get(key_id) if isinstance(key_id, str) else None
        return found if isinstance(found, Key) else None

    def delete(self, thing: Thing, reason: str = "it was removed") -> None:
        """Remove a thing and everything that belongs to it."""
        thing.removed = reason
        for other in self.all(Thing):
            if thing in vars(other).values():
                self.delete(other, "its owner was deleted")

    def add_secret(self, owner: Application | User) -> str:
        """Give the owner a new secret, which invalidates the previous one."""
        secret = secrets.token_urlsafe(48)
        owner.secret_digest = digest(secret)
        return secret

    def has_secret(self, owner: Application | User, secret: str) -> bool:
        """Return whether the secret is the owner's, in constant time."""
        return hmac.compare_digest(digest(secret), owner.secret_digest)

    def add_token(self, token: Token, text: str = "") -> str:
        """Remember the token and return its text, which isn't kept: opaque if none is given."""
        text = text or secrets.token_urlsafe(54)
        self._tokens[digest(text)] = self.add(token)
        return text

    def find_token(self, text: str) -> tuple[Token | None, str]:
        """Return what is known of a token, and why it is invalid, "" if it is valid."""
        token = self._tokens.get(digest(text))
        if token is None:
            return None, "the token is unknown; a restart forgets them all"
        if token.removed:
            return token, f"the token is no longer valid: {token.removed}"
        if token.expires <= time.time():
            return token, f"the token expired {int(time.time() - token.expires)} s ago"
        return token, ""
