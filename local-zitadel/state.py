"""What local-zitadel remembers, in memory only, and how it refuses a request."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

Json = dict[str, Any]
ORGANIZATION_NAME = "ZITADEL"
ORGANIZATION_DOMAIN = "zitadel.localhost"


class RefusalError(Exception):
    """An answer that refuses, and the reason for the log, which ZITADEL keeps to itself."""

    def __init__(self, status: int, body: Json, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.reason = reason


def json_object(text: str | bytes) -> Json | None:
    """Return the JSON object that the text is, None if it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def digest(secret: str) -> bytes:
    """Return what is stored of a secret or token: enough to know it again, useless to a thief.

    They are long and random, so that a slow hash would add nothing.
    """
    return hashlib.sha256(secret.encode()).digest()


@dataclass(eq=False)
class Project:
    """A project with the keys of its roles."""

    id: str
    name: str
    roles: list[str] = field(default_factory=list)
    created: float = field(default_factory=time.time)


@dataclass(eq=False)
class Application:
    """An API of a project: it authenticates with a key, or with a secret."""

    id: str
    client_id: str
    name: str
    project: Project
    uses_key: bool
    secret_digest: bytes = b""
    created: float = field(default_factory=time.time)


@dataclass(eq=False)
class User:
    """A service user."""

    id: str
    username: str
    name: str
    is_admin: bool = False
    is_active: bool = True
    gets_jwts: bool = False
    secret_digest: bytes = b""
    created: float = field(default_factory=time.time)


@dataclass(eq=False)
class Key:
    """The public half of a key pair. `removed` says why it no longer counts."""

    id: str
    owner: Application | User
    public_key: rsa.RSAPublicKey
    expires: float
    removed: str = ""


@dataclass(eq=False)
class Token:
    """An access token, or a personal access token. `removed` says why it no longer counts."""

    id: str
    user: User
    expires: float
    is_personal: bool
    audience: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    issued: float = field(default_factory=time.time)
    removed: str = ""


@dataclass(eq=False)
class Authorization:
    """The roles that a user has in a project."""

    id: str
    user: User
    project: Project
    roles: list[str]


class State:
    """One organization and everything in it."""

    def __init__(self) -> None:
        # Growing with the clock, so that a restart doesn't give an id a second time.
        self._ids = itertools.count(time.time_ns() // 10)
        self.created = time.time()
        self.organization_id = self.new_id()
        self.projects: dict[str, Project] = {}
        self.applications: dict[str, Application] = {}
        self.users: dict[str, User] = {}
        self.keys: dict[str, Key] = {}
        self.tokens: dict[bytes, Token] = {}
        self.authorizations: dict[str, Authorization] = {}

    def new_id(self) -> str:
        """Return an id that nothing else has."""
        return str(next(self._ids))

    def add_user(self, username: str, name: str, is_admin: bool = False) -> User:
        """Add a service user."""
        user = User(self.new_id(), username, name, is_admin)
        self.users[user.id] = user
        return user

    def add_secret(self, owner: Application | User) -> str:
        """Give the owner a new secret, which ends the one before."""
        secret = secrets.token_urlsafe(48)
        owner.secret_digest = digest(secret)
        return secret

    def has_secret(self, owner: Application | User, secret: str) -> bool:
        """Tell whether the secret is the owner's, in a time that tells nothing else."""
        return hmac.compare_digest(digest(secret), owner.secret_digest)

    def add_token(self, token: Token, text: str = "") -> str:
        """Remember the token and return its text, an opaque one if none is given; it isn't kept."""
        text = text or secrets.token_urlsafe(54)
        self.tokens[digest(text)] = token
        return text

    def find_token(self, text: str) -> tuple[Token | None, str]:
        """Return what is known of a token, and why it doesn't count, "" if it does."""
        token = self.tokens.get(digest(text))
        if token is None:
            return None, "the token is unknown; a restart forgets them all"
        if token.removed:
            return token, f"the token no longer counts: {token.removed}"
        if not token.user.is_active:
            return token, f"the token's service user {token.user.id} is deactivated"
        if token.expires <= time.time():
            return token, f"the token expired {int(time.time() - token.expires)} s ago"
        return token, ""

    def api(self, client_id: str) -> Application | None:
        """Return the API with this client id."""
        return next((a for a in self.applications.values() if a.client_id == client_id), None)

    def user_named(self, username: str) -> User | None:
        """Return the user with this name."""
        return next((u for u in self.users.values() if u.username == username), None)

    def authorization(self, user: User, project: Project) -> Authorization | None:
        """Return what says which roles the user has in the project at this moment."""
        found = self.authorizations.values()
        return next((a for a in found if a.user is user and a.project is project), None)

    def delete(self, thing: Project | Application | User) -> None:
        """Remove a project, an API or a user with all that belongs to it."""
        for application in list(self.applications.values()):
            if application.project is thing:
                self.delete(application)
        self.projects.pop(thing.id, None)
        self.applications.pop(thing.id, None)
        self.users.pop(thing.id, None)
        for authorization in list(self.authorizations.values()):
            if thing in (authorization.user, authorization.project):
                del self.authorizations[authorization.id]
        for key in self.keys.values():
            if key.owner is thing:
                key.removed = "its owner was deleted"
        for token in self.tokens.values():
            if token.user is thing:
                token.removed = "its service user was deleted"
