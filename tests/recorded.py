"""Requests made from the recorded cases of answers.json."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from contract import Contract, cases
from local_zitadel import LocalZitadel

BY_ID = {case["id"]: case for case in cases()}
BY_USER = "token/jwt-profile/openid-and-audience"
BY_API = "introspect/assertion/jwt-profile-token"
BY_SECRET = "introspect/basic/jwt-profile-token"
USER_ASSERTION = ("form", "assertion", "jwt")
API_ASSERTION = ("form", "client_assertion", "jwt")


def changed(id_: str, *path: str, to: Any) -> dict[str, Any]:
    """Return a recorded request with one of its parts replaced."""
    request: dict[str, Any] = deepcopy(BY_ID[id_]["request"])
    part = request
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return request


def logged(server: LocalZitadel, contract: Contract, request: dict[str, Any]) -> str:
    """Send a request and return what it added to the log."""
    before = len(server.log())
    contract.send(request)
    return server.log()[before:]
