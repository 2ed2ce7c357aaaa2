"""Stores for the introspection cache, and how an API that has one authenticates."""

from __future__ import annotations

from typing import Any

from requests.auth import HTTPBasicAuth


class Authentication(HTTPBasicAuth):
    """Authenticates as the API with this client id."""

    def __init__(self, client_id: str, client_secret: str = "s3cret") -> None:
        super().__init__(client_id, client_secret)
        self.client_id = client_id


class Memory(dict[str, Any]):
    """A store that remembers for ever, and the seconds that it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[int] = []

    def set(self, key: str, value: Any, timeout: int) -> None:
        self[key] = value
        self.timeouts.append(timeout)


class Fixed:
    """A store that always returns the same, and takes everything."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self, key: str) -> Any:
        return self.value

    def set(self, key: str, value: Any, timeout: int) -> None:
        pass


class Broken:
    """A store that is out of order, one way or the other."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, key: str) -> Any:
        raise self.error

    def set(self, key: str, value: Any, timeout: int) -> None:
        raise self.error
