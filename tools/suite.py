"""The five folders and what is in each: the one list that the programs and the tests use."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
KEY, SECRET, ACCESS_TOKEN = "key", "secret", "access token"

DEFAULT_PROJECT = "Quotes"
DEFAULT_ROLE = "read:messages"  # which the route /api/private-scoped requires
ROUTES = ("/api/public", "/api/private", "/api/private-scoped")


class Folder(NamedTuple):
    """One of the folders.

    Attributes:
        name: also that of its API in ZITADEL; its service account's name begins with it.
        program: what a user starts in it.
        credential: what it authenticates to ZITADEL or to an API with.
        variable: contains the secret or access token, or names the key file.
        key_file: the key file's name, if there is one.
        id_variable: contains the client id, where there is no key file to contain it.
    """

    name: str
    program: str
    credential: str
    variable: str
    key_file: str = ""
    id_variable: str = ""


APIS = (
    Folder("api-jwt", "server.py", KEY, "API_PRIVATE_KEY_FILE", "api-key-file.json"),
    Folder(
        "api-basic-authentication",
        "server.py",
        SECRET,
        "API_CLIENT_SECRET",
        id_variable="API_CLIENT_ID",
    ),
)
CLIENTS = (
    Folder(
        "service-user-jwt",
        "jwt-profile-token-generator.py",
        KEY,
        "CLIENT_PRIVATE_KEY_FILE_PATH",
        "client-key-file.json",
    ),
    Folder(
        "service-user-client-credentials",
        "client-credentials-token-generator.py",
        SECRET,
        "CLIENT_SECRET",
        id_variable="CLIENT_ID",
    ),
    Folder("service-user-pat", "call-api-with-pat.py", ACCESS_TOKEN, "PERSONAL_ACCESS_TOKEN"),
)
FOLDERS = APIS + CLIENTS
