"""The JSON key file that ZITADEL offers for download when a key is created."""

import json
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from settings import FOLDER, Settings

# By the file's `type`: what it is, the field with its owner's id, its name's start.
KINDS = {
    "application": ("an API's key file", "clientId", "api"),
    "serviceaccount": ("a service account's key file", "userId", "client"),
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
    wanted, identity, usual_name = KINDS[kind]
    usual_path = FOLDER / f"{usual_name}-key-file.json"

    value = settings.required(name)
    path = None if value.startswith("{") else FOLDER / value
    try:
        text = path.read_text(encoding="utf-8-sig") if path else value
    except (OSError, ValueError) as error:
        problem = f"is not the path of a readable text file ({type(error).__name__})"
        fix = f"save ZITADEL's JSON key as {usual_path}, or correct it"
        raise settings.error(name, problem, fix) from None

    content = _json_object(text)
    texts = {field: item for field, item in content.items() if isinstance(item, str)}
    found = texts.get("type", "")
    key = {field: texts.get(field, "") for field in ("keyId", "key", identity)}
    is_complete = all(item and not item.startswith("<") for item in key.values())
    now = datetime.now(timezone.utc).isoformat()  # RFC 3339 in UTC sorts as text

    if found in KINDS and found != kind:
        problem = f"is {KINDS[found][0]}, but {wanted} is required"
        fix = f"save that as {usual_path}, and name it"
    elif found != kind or not is_complete:
        problem = f"is not {wanted} (JSON with type, {', '.join(key)})"
        fix = "download the key from ZITADEL again, or correct it"
    elif str(content.get("expirationDate") or "9999") < now:
        problem = "has expired according to this machine's clock"
        fix = "create a new key in ZITADEL and set it"
    else:
        # A secret that passed two encoders has backslash and n instead of line breaks.
        return key | {"key": key["key"].replace("\\n", "\n")}

    where = f"({path}) " if path else ""
    raise settings.error(name, where + problem, fix)


def _json_object(text: str) -> dict[str, Any]:
    # Two encoders make JSON within a JSON string of it, whose quotes `settings` drops.
    for form in (text, f'"{text}"'):
        with suppress(ValueError, RecursionError):
            # Not strict: \n may have become line breaks.
            content = json.loads(form, strict=False)
            if isinstance(content, str):
                content = json.loads(content, strict=False)
            if isinstance(content, dict):
                return content
    return {}
