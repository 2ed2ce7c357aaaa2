"""Keep ZITADEL's answers about active access tokens for some seconds, in any cache."""

import hashlib
import json
import logging
import time
from typing import Any, Protocol

ASKED_AT = "introspected_at"

logger = logging.getLogger(__name__)


class Store(Protocol):
    """A cache as cachelib and Flask-Caching offer it.

    It must have a limit to its size, and one to the time that a call may take.
    """

    def get(self, key: str) -> Any:
        """Return what is kept under `key`, or None."""

    def set(self, key: str, value: Any, timeout: int) -> Any:
        """Keep `value` under `key` for `timeout` seconds."""


class IntrospectionCache:
    """ZITADEL's answers about active tokens, in a store that may be shared and may fail.

    The key is a hash of the API's identity and the token. So APIs never see each other's answers,
    and the store holds no token. It holds the claims, and whoever writes to it decides who gets in.

    Args:
        store: where the answers are kept.
        seconds: for how long at most; whole seconds count, and less than one keeps none.
        introspection_url: the endpoint that answers.
        client_id: this API's client id there.

    Raises:
        ValueError: `seconds` is out of range, or there is no client id, which would let APIs see
            each other's answers.
    """

    def __init__(
        self, store: Store, seconds: float, introspection_url: str, client_id: str | None
    ) -> None:
        if not client_id:
            raise ValueError("A cache needs a client_authentication that has a client_id.")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= 86400:
            raise ValueError("cache_seconds must be a number from 0 to 86400.")
        self._store = store
        self._seconds = int(seconds)
        self._identity = json.dumps([introspection_url, client_id])

    def get(self, token: str) -> dict[str, Any] | None:
        """Return the answer kept for `token`, or None if there is none that still holds."""
        try:
            value = self._store.get(self._key(token))
            if value is None:
                return None
            if not isinstance(value, str):
                raise TypeError
            claims = json.loads(value)
        except Exception as error:  # each store has its own ones
            _log_failure(error)
            return None
        if self._seconds_left(claims) <= 0:
            return None
        asked_at = claims.pop(ASKED_AT, None)
        # For a store that forgets too late, or is shared with more patient APIs.
        is_fresh = type(asked_at) is float and 0 <= time.time() - asked_at < self._seconds
        return claims if is_fresh else None

    def set(self, token: str, claims: dict[str, Any], asked_at: float) -> None:
        """Keep `claims` for `token`, if they say that it is active, and until when.

        `asked_at` is when ZITADEL was asked, in seconds since 1970.
        """
        seconds = self._seconds_left(claims)
        if seconds > 0:  # 0 is "for ever" to a store
            value = json.dumps({**claims, ASKED_AT: asked_at})
            try:
                self._store.set(self._key(token), value, timeout=seconds)
            except Exception as error:  # each store has its own ones
                _log_failure(error)

    def _key(self, token: str) -> str:
        return hashlib.sha256(f"{self._identity} {token}".encode()).hexdigest()

    def _seconds_left(self, claims: Any) -> int:
        if not isinstance(claims, dict) or claims.get("active") is not True:
            return 0
        expiry, now = claims.get("exp", 0), time.time()
        if type(expiry) not in (int, float) or not expiry > now:
            return 0
        return self._seconds if expiry >= now + self._seconds else int(expiry - now)


def _log_failure(error: Exception) -> None:
    name = type(error).__name__
    logger.warning("The cache of introspection answers failed (%s); ZITADEL is asked.", name)
