"""Show the API's resident memory while many different access tokens come."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from run import CALLERS, Caller, call_at_once, end_on_sigterm, get, serving_api, write_files

STEPS = 5
PIECE = 1000  # between two of them Ctrl-C is heeded


def megabytes(process_id: int) -> float:
    """Return the resident memory of a process."""
    command = ["ps", "-o", "rss=", "-p", str(process_id)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024


def memory(folder: Path, path: str, requests: int) -> Iterator[tuple[int, float]]:
    """Call the route with a token of its own each time; give calls and memory at each step."""
    with serving_api(folder) as (port, _):
        callers = [Caller(port) for _ in range(CALLERS)]
        process_id = int(callers[0].call(get("/process")))
        done = 0
        for step in range(STEPS + 1):
            end = requests * step // STEPS or requests // 100  # step 0 is the warm-up
            for start in range(done, end, PIECE):
                tokens = (f"{number:0100d}" for number in range(start, min(start + PIECE, end)))
                call_at_once(callers, [get(path, token) for token in tokens])
            done = end
            yield done, megabytes(process_id)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="default 100000")
    requests = parser.parse_args().requests
    if not 100 <= requests <= 1_000_000:
        parser.error("--requests must be from 100 to 1000000")
    end_on_sigterm()
    print("route        requests  resident MB", flush=True)
    with TemporaryDirectory() as name:
        write_files(Path(name))
        for route in ("jwt", "cached"):
            for done, resident in memory(Path(name), f"/HTTP/{route}", requests):
                print(f"{route:<10} {done:>10} {resident:>12.1f}", flush=True)


if __name__ == "__main__":
    main()
