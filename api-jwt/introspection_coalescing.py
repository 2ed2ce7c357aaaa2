# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Let requests that wait at the same time with the same token share one answer."""

import copy
import os
import threading
from typing import Any, Protocol

from introspection import IntrospectionUnavailableError

HOLD_BACK_SECONDS = 1
LOST_SECONDS = 60  # after which the thread that asks is taken for killed


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
    under way, the next about the same token waits for it, for a second at most.

    Args:
        introspection: what is asked, such as a TokenIntrospection.
        limit: how many callers may wait at once; further ones fail immediately.
    """

    def __init__(self, introspection: Introspection, limit: int = 100) -> None:
        self.identity = introspection.identity
        self._introspection = introspection
        self._limit = limit
        self._shared = _Shared()

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the answer about the token. Raises what `introspection` raises.

        Raises:
            IntrospectionUnavailableError: `limit` callers are waiting already.
        """
        # A forked process has none of the threads that its parent's callers wait for.
        if self._shared.process != os.getpid():
            self._shared = _Shared()
        shared = self._shared

        with shared.lock:
            if shared.callers >= self._limit:
                reason = f"{self._limit} callers are waiting"
                raise IntrospectionUnavailableError(reason)
            shared.callers += 1
        try:
            while True:
                question = self._ask_or_join(shared, token)
                if question.error:
                    raise copy.copy(question.error) from question.error
                if question.claims is not None:
                    # One caller's changes must not reach another.
                    is_joined, claims = question.is_joined, question.claims
                    return copy.deepcopy(claims) if is_joined else claims
        finally:
            with shared.lock:
                shared.callers -= 1

    def _ask_or_join(self, shared: "_Shared", token: str) -> "_Question":
        """Return a question that ended; without a result if its thread was killed."""
        with shared.lock:
            question = shared.unsent.get(token)
            is_joined = question is not None
            if question is None:
                question = shared.unsent[token] = _Question()
            question.is_joined = is_joined
            previous = shared.sent.get(token)

        if not is_joined:
            self._ask(shared, token, question, previous)
        elif not question.ended.wait(LOST_SECONDS):
            shared.forget(token, question)
        return question

    def _ask(
        self,
        shared: "_Shared",
        token: str,
        question: "_Question",
        previous: "_Question | None",
    ) -> None:
        try:
            if previous:
                previous.ended.wait(HOLD_BACK_SECONDS)
            shared.forget(token, question)  # nobody joins it from here on
            shared.sent[token] = question
            question.claims = self._introspection.introspect(token)
        except Exception as error:  # noqa: BLE001 - for all who share it
            question.error = error
        finally:
            shared.forget(token, question)
            question.ended.set()


class _Question:
    """One introspection, for all who join it before it is sent."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.is_joined = False
        self.claims: dict[str, Any] | None = None
        self.error: Exception | None = None


class _Shared:
    """What the threads of one process share."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.callers = 0
        self.unsent: dict[str, _Question] = {}
        self.sent: dict[str, _Question] = {}

    def forget(self, token: str, question: _Question) -> None:
        with self.lock:
            for questions in (self.unsent, self.sent):
                if questions.get(token) is question:
                    del questions[token]
