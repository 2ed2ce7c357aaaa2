"""What local-zitadel remembers, in memory only, and what the removal of each thing takes along."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa


def digest(secret: str) -> bytes:
    """Return what is stored of a secret or token: enough to know it again, useless to a thief.

    They are long and random, so that a slow hash would add nothing.
    """
    return hashlib.sha256(secret.encode()).digest()


def matches(secret: str, stored: bytes) -> bool:
    """Tell whether `stored` is the digest of `secret`, in a time that tells nothing else."""
    return hmac.compare_digest(digest(secret), stored)


@dataclass(eq=False)
class Project:
    """A project and the display names of its roles, by the role's key."""

    id: str
    name: str
    created: float
    roles: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Application:
    """An API of a project: it authenticates with a key, or with a secret."""

    id: str
    client_id: str
    name: str
    project: Project
    uses_key: bool
    created: float
    changed: float
    secret_digest: bytes = b""


@dataclass(eq=False)
class User:
    """A service user."""

    id: str
    username: str
    name: str
    created: float
    changed: float
    is_admin: bool = False
    secret_digest: bytes = b""


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
    issued: float
    expires: float
    is_personal: bool
    audience: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    removed: str = ""

    def problem(self) -> str:
        """Return why the token doesn't count, "" if it does."""
        if self.removed:
            return f"the token no longer counts: {self.removed}"
        if self.expires <= time.time():
            return f"the token expired {int(time.time() - self.expires)} s ago"
        return ""


UNKNOWN_TOKEN = "the token is unknown; a restart forgets them all"


@dataclass(eq=False)
class Authorization:
    """The roles that a user has in a project."""

    id: str
    user: User
    project: Project
    roles: list[str]


class State:
    """One organization and everything in it; hold `lock` while reading or changing it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Growing with the clock, so that a restart doesn't give an id a second time.
        self._ids = itertools.count(time.time_ns() // 10)
        self.created = time.time()
        self.organization_id = self.new_id()
        self.organization_name = "ZITADEL"
        self.organization_domain = "zitadel.localhost"
        self.projects: dict[str, Project] = {}
        self.applications: dict[str, Application] = {}
        self.users: dict[str, User] = {}
        self.keys: dict[str, Key] = {}
        self.tokens: dict[bytes, Token] = {}
        self.authorizations: dict[str, Authorization] = {}

    def new_id(self) -> str:
        """Return an id that nothing else has."""
        return str(next(self._ids))

    def add_user(self, username: str, name: str, *, is_admin: bool = False) -> User:
        """Add a service user."""
        now = time.time()
        user = User(self.new_id(), username, name, now, now, is_admin)
        self.users[user.id] = user
        return user

    def add_secret(self, owner: Application | User) -> str:
        """Give the owner a new secret, which ends the one before."""
        secret = secrets.token_urlsafe(48)
        owner.secret_digest = digest(secret)
        owner.changed = time.time()
        return secret

    def add_token(self, token: Token) -> str:
        """Remember the token and return its text, which is not kept."""
        text = secrets.token_urlsafe(54)
        self.tokens[digest(text)] = token
        return text

    def find_token(self, text: str) -> Token | None:
        """Return what is known of a token, also of one that no longer counts."""
        return self.tokens.get(digest(text))

    def api(self, client_id: str) -> Application | None:
        """Return the API with this client id."""
        return next((a for a in self.applications.values() if a.client_id == client_id), None)

    def user_named(self, username: str) -> User | None:
        """Return the user with this name."""
        return next((u for u in self.users.values() if u.username == username), None)

    def roles(self, user: User, project: Project) -> list[str]:
        """Return the roles that the user has in the project at this moment."""
        for authorization in self.authorizations.values():
            if authorization.user is user and authorization.project is project:
                return authorization.roles
        return []

    def delete_application(self, application: Application) -> None:
        """Remove an API with its keys."""
        del self.applications[application.id]
        self._remove_keys(application, "its API was deleted")

    def delete_project(self, project: Project) -> None:
        """Remove a project with its APIs, roles and authorizations."""
        for application in list(self.applications.values()):
            if application.project is project:
                self.delete_application(application)
        self._keep_authorizations(lambda authorization: authorization.project is not project)
        del self.projects[project.id]

    def delete_user(self, user: User) -> None:
        """Remove a user with its keys, tokens and authorizations."""
        self._remove_keys(user, "its service user was deleted")
        for token in self.tokens.values():
            if token.user is user:
                token.removed = "its service user was deleted"
        self._keep_authorizations(lambda authorization: authorization.user is not user)
        del self.users[user.id]

    def _remove_keys(self, owner: Application | User, reason: str) -> None:
        for key in self.keys.values():
            if key.owner is owner:
                key.removed = reason

    def _keep_authorizations(self, condition: Callable[[Authorization], bool]) -> None:
        kept = {id_: a for id_, a in self.authorizations.items() if condition(a)}
        self.authorizations = kept
