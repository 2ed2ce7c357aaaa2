"""How local-zitadel says no, and how it puts values into its log."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

Json = dict[str, Any]

STATUSES = {
    "already_exists": 409,
    "failed_precondition": 400,
    "invalid_argument": 400,
    "not_found": 404,
    "unauthenticated": 401,
    "unimplemented": 501,
}
# A secret, pasted into the wrong field, looks like neither of these.
HARMLESS = re.compile(r"[0-9]{1,20}|https?://[a-zA-Z0-9.:/_-]{1,100}")


class RefusalError(Exception):
    """An answer that refuses, and the reason for the log, which ZITADEL keeps to itself."""

    def __init__(self, status: int, body: Json, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.reason = reason


def oauth_error(
    error: str, description: str = "", reason: str = "", status: int = 400
) -> RefusalError:
    """Return a refusal as the OAuth endpoints have it."""
    body = {"error": error}
    if description:
        body["error_description"] = description
    return RefusalError(status, body, reason or description)


def call_error(code: str, message: str, identifier: str = "", reason: str = "") -> RefusalError:
    """Return a refusal as the management calls have it."""
    body: Json = {"code": code, "message": message}
    if identifier:
        # The same detail once more as protocol buffer: field 1 the identifier, field 2 the message.
        detail = b"".join(
            bytes([tag, len(text)]) + text.encode()
            for tag, text in ((0x0A, identifier), (0x12, message))
        )
        body["message"] = f"{message} ({identifier})"
        body["details"] = [
            {
                "type": "zitadel.v1.ErrorDetail",
                "value": base64.b64encode(detail).decode().rstrip("="),
                "debug": {"id": identifier, "message": message},
            }
        ]
    return RefusalError(STATUSES[code], body, reason or message)


def json_object(text: str | bytes) -> Json | None:
    """Return the JSON object that the text is, None if it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def shown(value: object) -> str:
    """Return a value that a caller sent as the log may show it: ids and addresses only."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value[:5]))}{', …' if len(value) > 5 else ''}]"
    if value is None:
        return "missing"
    if isinstance(value, str) and HARMLESS.fullmatch(value):
        return f"'{value}'"
    return "a value not shown here"
