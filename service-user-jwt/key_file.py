"""The JSON key file that ZITADEL offers for download when a key is created."""

import json
from datetime import datetime, timezone
from typing import Any

from settings import FOLDER, Settings

# By the file's `type`: what it is, the field with its owner's id, and its usual name.
KINDS = {
    "application": ("an API's key file", "clientId", "api-key-file.json"),
    "serviceaccount": (
        "a service account's key file",
        "userId",
        "client-key-file.json",
    ),
}


def read(settings: Settings, name: str, kind: str) -> dict[str, str]:
    """Return keyId, key and clientId or userId from the key file that `name` points to.

    The variable contains a path, relative to this folder, or the file's JSON itself. No
    message shows its value unless that is the path of a file: it might be the key.

    Args:
        settings: the settings that have the variable.
        name: the variable's name.
        kind: what the file's `type` must be, one of KINDS.

    Raises:
        ConfigurationError: the file is missing, of the other kind, or has expired.
    """
    text, where = _text(settings, name, KINDS[kind][2])
    content = _json_object(text)
    wanted, identity, usual_name = KINDS[kind]

    found = content.get("type")
    if isinstance(found, str) and found in KINDS and found != kind:
        problem = f"{where}is {KINDS[found][0]}, but {wanted} is required"
        fix = f"save that as {FOLDER / usual_name}, and name it"
        raise settings.error(name, problem, fix)

    fields = ("keyId", "key", identity)
    if found != kind or not all(_is_text(content.get(field)) for field in fields):
        problem = f"{where}is not {wanted} (JSON with type, {', '.join(fields)})"
        fix = "download the key from ZITADEL again, or correct it"
        raise settings.error(name, problem, fix)

    # Dates in RFC 3339 and UTC sort as text.
    now = datetime.now(timezone.utc).isoformat()
    if str(content.get("expirationDate") or "9999") < now:
        problem = f"{where}has expired according to this machine's clock"
        raise settings.error(name, problem, "create a new key in ZITADEL and set it")

    key = {field: content[field] for field in fields}
    # A secret that passed two encoders has backslash and n instead of line breaks.
    key["key"] = key["key"].replace("\\n", "\n")
    return key


def _text(settings: Settings, name: str, usual_name: str) -> tuple[str, str]:
    """Return the key file's text, and "(its path) " or ""."""
    value = settings.required(name)
    if value.startswith("{"):
        return value, ""

    path = FOLDER / value
    try:
        return path.read_text(encoding="utf-8-sig"), f"({path}) "
    except (OSError, ValueError) as error:
        problem = f"is not the path of a readable text file ({type(error).__name__})"
        fix = f"save ZITADEL's JSON key as {FOLDER / usual_name}, or correct it"
        raise settings.error(name, problem, fix) from None


def _json_object(text: str) -> dict[str, Any]:
    # Two encoders make JSON within a JSON string of it, whose quotes `settings` drops.
    for form in (text, f'"{text}"'):
        try:
            # Not strict: \n may have become line breaks.
            content = json.loads(form, strict=False)
            if isinstance(content, str):
                content = json.loads(content, strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            return content
    return {}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not value.startswith("<")
