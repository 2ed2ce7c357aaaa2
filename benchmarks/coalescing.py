"""Measure how requests that wait with the same token share introspections.

The introspection endpoint takes 5 ms for each, and the API has one worker with 16 threads. It takes
about half a minute.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median, quantiles

from harness import Caller, call_at_once, end_on_sigterm, serving_api

THREADS = 16
HEAD = "callers  tokens    coalescing  requests/s  50 % ms  99 % ms  introspections a request"
LINE = "{:>7}  {:<8}  {:<10}  {:>10.0f}  {:>7.1f}  {:>7.1f}  {:>24.2f}"


def distinct(number: int) -> str:
    """Return a token of letters that no other number has."""
    return "paced" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1600, help="in each row (default: 1600)")
    requests = parser.parse_args().requests
    if not THREADS <= requests <= 1_000_000:
        parser.error(f"--requests must be from {THREADS} to 1000000")
    end_on_sigterm()

    print(HEAD)
    for count in (1, 4, THREADS):
        for name in ("one", "distinct"):
            for path in ("basic", "coalesced"):
                with serving_api(THREADS) as (api, upstream):
                    callers = [Caller(api) for _ in range(count)]
                    endpoint = Caller(upstream)
                    tokens = [distinct(number) for number in range(requests)]
                    if name == "one":
                        tokens = ["paced"] * requests
                    call_at_once(callers, f"/HTTP/{path}", tokens[: 5 * count])

                    before = json.loads(endpoint.get("/counts"))["introspections"]
                    start = time.perf_counter()
                    took = call_at_once(callers, f"/HTTP/{path}", tokens)
                    seconds = time.perf_counter() - start
                    asked = json.loads(endpoint.get("/counts"))["introspections"] - before
                print(
                    LINE.format(
                        count,
                        name,
                        "yes" if path == "coalesced" else "no",
                        requests / seconds,
                        1000 * median(took),
                        1000 * quantiles(took, n=100)[-1],
                        asked / requests,
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
