"""A real Redis for the tests of the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from programs import free_port


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """Run Redis with its files in `folder` and give its port. Without one, only CI fails."""
    program = shutil.which("redis-server")
    if not program:
        missing = "There is no redis-server: install it, as with `apt-get install redis-server`."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        with redis.Redis(port=port) as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert process.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)
