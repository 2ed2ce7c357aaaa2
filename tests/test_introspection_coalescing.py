"""Callers who wait with the same token share an answer that is newer than their request."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from cachelib import SimpleCache
from requests.auth import HTTPBasicAuth

from introspection import (
    IntrospectionRejectedError,
    IntrospectionUnavailableError,
    TokenIntrospection,
)
from introspection_cache import CachedIntrospection
from introspection_coalescing import HOLD_BACK_SECONDS, CoalescedIntrospection
from programs import ROOT, run
from servers import TOKEN, Upstream, active, bearer, protected, send, serving


class Endpoint:
    """An introspection whose answers are given by hand."""

    identity = "an API"

    def __init__(self) -> None:
        self.questions: list[tuple[str, Future[dict[str, Any]]]] = []

    def introspect(self, token: str) -> dict[str, Any]:
        answer: Future[dict[str, Any]] = Future()
        self.questions.append((token, answer))
        return answer.result(20)

    def asked(self, count: int) -> None:
        """Wait until there were so many questions."""
        until(lambda: len(self.questions) >= count)

    def answer(self, number: int, /, **claims: Any) -> None:
        self.questions[number][1].set_result(claims)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold questions back for long, so that a slow machine changes no outcome."""
    monkeypatch.setattr("introspection_coalescing.HOLD_BACK_SECONDS", 60)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def callers(introspection: CoalescedIntrospection, count: int) -> None:
    """Wait until so many callers are under way."""
    free = introspection._limit - count
    until(lambda: introspection._shared.slots._value == free)


def test_callers_join_the_question_that_has_not_been_sent(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    introspection = CoalescedIntrospection(endpoint)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    others = [threads.submit(introspection.introspect, "a") for _ in range(5)]
    callers(introspection, 6)
    endpoint.answer(0, sub="first")
    assert first.result(5) == {"sub": "first"}
    endpoint.asked(2)
    late = [threads.submit(introspection.introspect, "a") for _ in range(4)]
    callers(introspection, 9)
    endpoint.answer(1, sub="second")
    assert [other.result(5) for other in others] == [{"sub": "second"}] * 5
    endpoint.asked(3)
    endpoint.answer(2, sub="third")
    assert [other.result(5) for other in late] == [{"sub": "third"}] * 4
    assert len(endpoint.questions) == 3


def test_nobody_gets_an_answer_to_a_question_sent_before_they_arrived(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    introspection = CoalescedIntrospection(endpoint)
    before = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)  # now the token is revoked
    after = threads.submit(introspection.introspect, "a")
    callers(introspection, 2)
    endpoint.answer(0, active=True)
    endpoint.asked(2)
    endpoint.answer(1, active=False)
    assert before.result(5) == {"active": True}
    assert after.result(5) == {"active": False}


def test_a_token_revoked_between_two_requests_is_always_refused_for_the_second(
    upstream: Upstream, threads: ThreadPoolExecutor
) -> None:
    revoked: set[str] = set()

    def judge(form: dict[str, str]) -> dict[str, Any]:
        judged = active() | {"active": form["token"] not in revoked}
        time.sleep(0.002)  # what is revoked now doesn't change this answer
        return judged

    def revoke_while_others_call(number: int) -> int:
        token = f"t{number}"
        calling = [threads.submit(send, base_url, "/", bearer(token)) for _ in range(8)]
        assert calling[number % 8].result()[0] == 200
        revoked.add(token)
        return send(base_url, "/", bearer(token))[0]

    upstream.answer(judge)
    introspection = TokenIntrospection(upstream.url, HTTPBasicAuth("id", "s3cret"))
    app = protected(CoalescedIntrospection(introspection))
    with serving(app) as base_url, ThreadPoolExecutor(3) as revoking:
        assert set(revoking.map(revoke_while_others_call, range(100))) == {401}
    assert len(upstream.forms) < 700  # of 900 requests: many shared an answer


def test_nothing_is_kept(endpoint: Endpoint, threads: ThreadPoolExecutor) -> None:
    introspection = CoalescedIntrospection(endpoint)
    for number in range(2):
        caller = threads.submit(introspection.introspect, "a")
        endpoint.asked(number + 1)
        endpoint.answer(number, number=number)
        assert caller.result(5) == {"number": number}


def test_different_tokens_never_wait_for_each_other(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    introspection = CoalescedIntrospection(endpoint)
    slow = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    other = threads.submit(introspection.introspect, "b")
    endpoint.asked(2)
    endpoint.answer(1, sub="b")
    assert other.result(5) == {"sub": "b"} and not slow.done()
    endpoint.answer(0)


def test_a_slow_question_holds_the_next_one_back_for_a_second_at_most(
    endpoint: Endpoint, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introspection_coalescing.HOLD_BACK_SECONDS", HOLD_BACK_SECONDS)
    introspection = CoalescedIntrospection(endpoint)
    slow = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    began = time.monotonic()
    following = threads.submit(introspection.introspect, "a")
    endpoint.asked(2)
    assert 0.9 < time.monotonic() - began < 5
    endpoint.answer(1, sub="following")
    assert following.result(5) == {"sub": "following"} and not slow.done()
    endpoint.answer(0)


def test_a_question_sent_long_ago_holds_nobody_back(
    endpoint: Endpoint, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introspection_coalescing.HOLD_BACK_SECONDS", 2)
    introspection = CoalescedIntrospection(endpoint)
    slow = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    time.sleep(1.5)
    began = time.monotonic()
    following = threads.submit(introspection.introspect, "a")
    endpoint.asked(2)
    assert time.monotonic() - began < 1.5
    endpoint.answer(1, sub="following")
    assert following.result(5) == {"sub": "following"} and not slow.done()
    endpoint.answer(0)


def test_waiting_callers_count_against_the_limit(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    introspection = CoalescedIntrospection(endpoint, limit=3)
    waiting = [threads.submit(introspection.introspect, "made-up") for _ in range(3)]
    callers(introspection, 3)
    with pytest.raises(IntrospectionUnavailableError, match="3 callers are waiting"):
        introspection.introspect("another")

    endpoint.asked(1)
    endpoint.answer(0)
    endpoint.asked(2)
    endpoint.answer(1)
    assert [caller.result(5) for caller in waiting] == [{}] * 3
    again = threads.submit(introspection.introspect, "another")
    endpoint.asked(3)
    endpoint.answer(2)
    assert again.result(5) == {}


def test_an_error_reaches_all_who_share_it_each_with_an_exception_of_its_own(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    introspection = CoalescedIntrospection(endpoint)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    others = [threads.submit(introspection.introspect, "a") for _ in range(4)]
    callers(introspection, 5)
    endpoint.answer(0)
    assert first.result(5) == {}
    endpoint.asked(2)
    endpoint.questions[1][1].set_exception(IntrospectionUnavailableError("away", 7))
    errors = [other.exception(5) for other in others]
    assert len({id(error) for error in errors}) == 4
    for error in errors:
        assert isinstance(error, IntrospectionUnavailableError)
        assert (str(error), error.retry_after) == ("away", 7)


def test_a_caller_alone_gets_the_error_itself(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    caller = threads.submit(CoalescedIntrospection(endpoint).introspect, "a")
    endpoint.asked(1)
    error = IntrospectionUnavailableError("away")
    endpoint.questions[0][1].set_exception(error)
    assert caller.exception(5) is error


@pytest.mark.parametrize(
    ("error", "status"),
    [(IntrospectionUnavailableError("away"), 503), (IntrospectionRejectedError("no"), 500)],
)
def test_the_decorator_answers_as_without_it(
    error: Exception, status: int, endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    app = protected(CoalescedIntrospection(endpoint))
    with serving(app) as base_url:
        caller = threads.submit(send, base_url, "/", TOKEN)
        endpoint.asked(1)
        endpoint.questions[0][1].set_exception(error)
        assert caller.result(5)[0] == status


def test_each_caller_gets_claims_of_its_own(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    class Slow:
        def __deepcopy__(self, _: object) -> None:
            time.sleep(0.2)  # another caller may change its claims meanwhile

    def changed_by_another() -> bool:
        roles = introspection.introspect("a")["roles"]
        is_changed = "admin" in roles
        roles["admin"] = {}
        return is_changed

    introspection = CoalescedIntrospection(endpoint)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    others = [threads.submit(changed_by_another) for _ in range(4)]
    callers(introspection, 5)
    endpoint.answer(0)
    first.result(5)
    endpoint.asked(2)
    endpoint.answer(1, slow=Slow(), roles={"reader": {}})
    assert not any(other.result(5) for other in others)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_empty(endpoint: Endpoint, threads: ThreadPoolExecutor) -> None:
    introspection = CoalescedIntrospection(endpoint, limit=2)
    waiting = [threads.submit(introspection.introspect, "a") for _ in range(2)]
    callers(introspection, 2)
    endpoint.asked(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        endpoint.introspect = lambda token: {"sub": token}  # type: ignore[method-assign]
        os.write(writer, introspection.introspect("a")["sub"].encode())
        os._exit(0)
    ready, _, _ = select.select([reader], [], [], 8)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ready and os.read(reader, 10) == b"a"
    endpoint.answer(0)
    endpoint.asked(2)
    endpoint.answer(1)
    assert [caller.result(5) for caller in waiting] == [{}, {}]


def test_a_caller_whose_thread_is_killed_leaves_nobody_waiting(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    class Killed(BaseException):
        pass

    introspection = CoalescedIntrospection(endpoint)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    others = [threads.submit(introspection.introspect, "a") for _ in range(3)]
    callers(introspection, 4)
    endpoint.answer(0)
    assert first.result(5) == {}
    endpoint.asked(2)
    endpoint.introspect = lambda token: {"sub": token}  # type: ignore[method-assign]
    endpoint.questions[1][1].set_exception(Killed())
    results = [other.exception(5) or other.result() for other in others]
    assert sum(result == {"sub": "a"} for result in results) == 2
    assert sum(isinstance(result, Killed) for result in results) == 1


def test_a_thread_that_vanished_is_given_up(
    endpoint: Endpoint, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("introspection_coalescing.LOST_SECONDS", 0.1)
    introspection = CoalescedIntrospection(endpoint)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    vanished = threads.submit(introspection.introspect, "a")  # isn't heard of until the end
    callers(introspection, 2)
    joined = threads.submit(introspection.introspect, "a")
    endpoint.asked(2)
    endpoint.answer(1, sub="joined")
    assert joined.result(5) == {"sub": "joined"} and not vanished.done()

    monkeypatch.setattr("introspection_coalescing.HOLD_BACK_SECONDS", 0)
    monkeypatch.setattr("introspection_coalescing.LOST_SECONDS", 60)
    later = threads.submit(introspection.introspect, "a")
    endpoint.asked(3)
    endpoint.answer(2, sub="later")
    assert later.result(5) == {"sub": "later"} and not vanished.done()
    endpoint.answer(0)
    endpoint.asked(4)
    endpoint.answer(3, sub="vanished")
    assert (first.result(5), vanished.result(5)) == ({}, {"sub": "vanished"})


def test_an_expired_cache_entry_is_asked_about_once(
    endpoint: Endpoint, threads: ThreadPoolExecutor
) -> None:
    coalesced = CoalescedIntrospection(endpoint)
    assert coalesced.identity == endpoint.identity
    introspection = CachedIntrospection(coalesced, SimpleCache(), max_age=30)
    first = threads.submit(introspection.introspect, "a")
    endpoint.asked(1)
    others = [threads.submit(introspection.introspect, "a") for _ in range(8)]
    callers(coalesced, 9)
    answer = {"active": True, "exp": int(time.time()) + 300}
    endpoint.answer(0, **answer)
    assert first.result(5) == answer
    endpoint.asked(2)
    endpoint.answer(1, **answer)
    assert [other.result(5) for other in others] == [answer] * 8
    assert introspection.introspect("a") == answer and len(endpoint.questions) == 2


def test_memory_is_flat_over_many_tokens() -> None:
    class Silent:
        identity = "an API"

        def introspect(self, token: str) -> dict[str, Any]:
            return {"active": False}

    introspection = CoalescedIntrospection(Silent())
    introspection.introspect("first")
    before = sys.getallocatedblocks()
    for number in range(100_000):
        introspection.introspect(f"token {number}")
    assert sys.getallocatedblocks() - before < 10_000


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, time
from introspection_coalescing import CoalescedIntrospection

class Slow:
    identity, asked = "an API", 0

    def introspect(self, token):
        Slow.asked += 1
        time.sleep(0.2)
        return {"sub": token}

introspection = CoalescedIntrospection(Slow())

def answers(count):
    jobs = [gevent.spawn(introspection.introspect, "a") for _ in range(count)]
    gevent.sleep(0.1)
    if count == 3:
        jobs[1].kill()  # the third has joined its question
    gevent.joinall(jobs, timeout=10)
    return [job.value for job in jobs]

print(answers(20) == [{"sub": "a"}] * 20, Slow.asked)
first, killed, joined = answers(3)
print(first == joined == {"sub": "a"}, isinstance(killed, gevent.GreenletExit))
"""


def test_it_works_with_gevent_and_outlives_a_greenlet_that_is_killed() -> None:
    pytest.importorskip("gevent")
    ended = run(ROOT / "api-jwt", "-c", GEVENT)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "True 2\nTrue True\n"
