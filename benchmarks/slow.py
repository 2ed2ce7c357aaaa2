"""Measure a public route while ZITADEL is silent and callers without a valid token keep calling.

The API has one worker with 8 threads. Once with `max_concurrent=4`, once with the default, and once
with the default and coalescing. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from statistics import median

from harness import Caller, end_on_sigterm, serving_api

ATTACKERS = 32
GOAL = 50


def attack(port: int, path: str, end: float) -> None:
    """Call the protected route until time is up or the API has ended."""
    caller = Caller(port)
    while time.monotonic() < end:
        caller.get(path, "silent", status=503)


def probe(port: int, seconds: float) -> tuple[int, list[float]]:
    """Call the public route until time is up; return how many answers came, and each call's ms."""
    answers, took = 0, []
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        with suppress(TimeoutError):  # such a call counts with the time that it has waited
            Caller(port, timeout=seconds).get("/unprotected")
            answers += 1
        took.append(1000 * (time.monotonic() - start))
    return answers, took


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each row (default: 30)")
    seconds = parser.parse_args().seconds
    if not 1 <= seconds <= 3600:
        parser.error("--seconds must be from 1 to 3600")
    end_on_sigterm()
    print(f"limit      calls answered  median ms  slowest s  goal: a median below {GOAL} with 4")
    rows = {"4": "limited", "default": "basic", "coalesced": "coalesced"}
    for limit, route in rows.items():
        with ThreadPoolExecutor(ATTACKERS) as threads, serving_api() as (port, _):
            end = time.monotonic() + 1 + seconds
            for _ in range(ATTACKERS):
                threads.submit(attack, port, f"/HTTP/{route}", end)
            time.sleep(1)
            answers, took = probe(port, seconds)
        met = "" if limit != "4" else "met" if median(took) < GOAL else "MISSED"
        line = f"{limit:<9} {len(took):>6} {answers:>8} {median(took):>10.1f} "
        line += f"{max(took) / 1000:>10.1f}  {met}"
        print(line.rstrip(), flush=True)


if __name__ == "__main__":
    main()
