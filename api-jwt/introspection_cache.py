# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Cache ZITADEL's answers about active access tokens for a few seconds."""

import hashlib
import json
import logging
import time
from typing import Any, Protocol

MAX_CHARACTERS = 65536  # of an answer, whose size the caller chooses
ASKED_AT = "introspected_at"


class Introspection(Protocol):
    """What is asked when the cache has no answer, such as a TokenIntrospection."""

    @property
    def identity(self) -> str:
        """What an answer depends on besides the token."""
        ...

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token."""
        ...


class Store(Protocol):
    """The interface of cachelib and Flask-Caching.

    It must limit its number of entries and the duration of a call.
    """

    def get(self, key: str) -> Any:
        """Return what was set under `key`, or None."""
        ...

    def set(self, key: str, value: Any, timeout: int) -> Any:
        """Keep `value` under `key` for `timeout` seconds."""
        ...


class CachedIntrospection:
    """An introspection that keeps the answer about an active token for some seconds.

    Meanwhile a revoked token or role may still be accepted. Without an expiry, or with
    more than 65,536 characters, an answer isn't kept. The store contains claims but no
    tokens: its keys are hashes of the API's identity and the token, so APIs that share
    a store don't see each other's answers. Whoever can write to the store decides who
    gets in.

    Args:
        introspection: what is asked, such as a TokenIntrospection.
        store: where answers are kept; it may be shared, and it may fail.
        max_age: seconds to keep an answer at most; fractions are dropped.

    Raises:
        ValueError: `max_age` is not a number from 0 to 86400, or the introspection has
            no identity, since its client authentication has no `client_id`.
    """

    def __init__(
        self, introspection: Introspection, store: Store, max_age: float = 30
    ) -> None:
        self.identity = introspection.identity
        if not self.identity:
            message = "A cache requires a client_authentication with a client_id."
            raise ValueError(message)
        if not isinstance(max_age, (int, float)) or not 0 <= max_age <= 86400:
            raise ValueError("max_age must be a number from 0 to 86400.")

        self._introspection = introspection
        self._store = store
        self._max_age = int(max_age)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token. Raises what `introspection` raises."""
        key = hashlib.sha256(f"{self.identity} {token}".encode()).hexdigest()
        claims = self._get(key)
        if claims is None:
            asked_at = time.time()
            claims = self._introspection.introspect(token)
            self._set(key, claims, asked_at)

        return claims

    def _get(self, key: str) -> dict[str, Any] | None:
        try:
            value = self._store.get(key)
            if value is None:
                return None
            if not isinstance(value, str):  # json.loads takes bytes, too
                raise TypeError
            claims: dict[str, Any] = json.loads(value)
            age = time.time() - claims.pop(ASKED_AT)
        except Exception as error:  # noqa: BLE001 - every store raises its own
            _log_failure(error)
            return None

        # The store may expire late, or be shared with APIs that keep answers longer.
        is_fresh = 0 <= age < self._max_age
        return claims if is_fresh and self._seconds_left(claims) > 0 else None

    def _set(self, key: str, claims: dict[str, Any], asked_at: float) -> None:
        seconds = self._seconds_left(claims)
        if seconds <= 0:  # to a store, 0 means forever
            return

        value = json.dumps({**claims, ASKED_AT: asked_at})
        if len(value) > MAX_CHARACTERS:
            return

        try:
            self._store.set(key, value, timeout=seconds)
        except Exception as error:  # noqa: BLE001 - every store raises its own
            _log_failure(error)

    def _seconds_left(self, claims: dict[str, Any]) -> int:
        """Return how long to keep the answer, 0 unless its token is active."""
        if claims.get("active") is not True:
            return 0

        expiry, now = claims.get("exp", 0), time.time()
        if not isinstance(expiry, (int, float)) or not expiry > now:
            return 0

        return self._max_age if expiry >= now + self._max_age else int(expiry - now)


def _log_failure(error: Exception) -> None:
    # The root logger, since an app's `dictConfig` disables all others that exist.
    logging.getLogger().warning(
        "The introspection cache failed (%s); asking ZITADEL instead.",
        type(error).__name__,
    )
