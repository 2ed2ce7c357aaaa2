# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Let requests that wait at the same time with the same token share one answer."""

import copy
import os
import threading
import time
from typing import Any, Protocol

from introspection import IntrospectionUnavailableError

HOLD_BACK_SECONDS = 1
LOST_SECONDS = 60  # longer than any introspection: the thread that asks was killed


class Introspection(Protocol):
    """What is asked, such as a TokenIntrospection."""

    @property
    def identity(self) -> str:
        """What an answer depends on besides the token."""
        ...

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token."""
        ...


class CoalescedIntrospection:
    """An introspection that asks once for all who wait with the same token.

    A caller joins only a question that hasn't been sent yet, so nobody gets an answer
    to a question that is older than their request, and nothing is kept. While one is
    under way, the next about the same token waits for it, so that more callers join,
    for a second at most.

    Args:
        introspection: what is asked, such as a TokenIntrospection.
        limit: how many callers may wait at once; further ones fail immediately. Like
            `max_concurrent`, set it below the server's number of threads.
    """

    def __init__(self, introspection: Introspection, limit: int = 100) -> None:
        self.identity = introspection.identity
        self._introspection = introspection
        self._limit = limit
        self._shared = _Shared(limit)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token; raise what `introspection` raises.

        Raises IntrospectionUnavailableError, too, if `limit` callers are waiting.
        """
        # A forked process has none of the threads that its parent's callers wait for.
        if self._shared.process != os.getpid():
            self._shared = _Shared(self._limit)
        shared = self._shared

        if not shared.slots.acquire(blocking=False):
            raise IntrospectionUnavailableError(f"{self._limit} callers are waiting")
        try:
            with shared.lock:
                latest = shared.latest.get(token)
                if latest and not latest.sent_at:
                    question, latest.is_joined = latest, True
                else:
                    question = shared.latest[token] = _Question()

            if question is latest:
                return self._join(token, question)
            return self._ask(shared, token, question, latest)
        finally:
            shared.slots.release()

    def _ask(
        self,
        shared: "_Shared",
        token: str,
        question: "_Question",
        previous: "_Question | None",
    ) -> dict[str, Any]:
        try:
            if previous:
                held_back_until = previous.sent_at + HOLD_BACK_SECONDS
                previous.ended.wait(held_back_until - time.monotonic())
            with shared.lock:
                question.sent_at = time.monotonic()  # nobody joins it from here on

            claims = self._introspection.introspect(token)
            if question.is_joined:
                question.claims = copy.deepcopy(claims)

            return claims
        except Exception as error:
            if question.is_joined:
                question.error = error
            raise
        finally:
            with shared.lock:
                if shared.latest.get(token) is question:
                    del shared.latest[token]
            question.ended.set()

    def _join(self, token: str, question: "_Question") -> dict[str, Any]:
        question.ended.wait(LOST_SECONDS)
        # Copies: what one caller changes must not reach another.
        if question.error:
            raise copy.copy(question.error)
        if question.claims is not None:
            return copy.deepcopy(question.claims)

        # The thread that was to ask has been killed. Nobody else joins its question.
        question.sent_at = time.monotonic()
        return self._introspection.introspect(token)


class _Question:
    """One introspection, for all who join it before it is sent."""

    def __init__(self) -> None:
        self.sent_at = 0.0  # not yet
        self.is_joined = False
        self.ended = threading.Event()
        self.claims: dict[str, Any] | None = None
        self.error: Exception | None = None


class _Shared:
    """What the threads of one process share."""

    def __init__(self, limit: int) -> None:
        self.process = os.getpid()
        self.slots = threading.Semaphore(limit)
        self.lock = threading.Lock()
        self.latest: dict[str, _Question] = {}  # by token, until they end
