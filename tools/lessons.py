"""What `demo.py --explain` says about each kind of exchange, in the demo's order."""

from typing import NamedTuple

from tools.credentials import ROLES_CLAIM

OPENING = (
    "Three parties talk over HTTP: a client, an API, and ZITADEL, which issues the tokens. What "
    "they really send is marked with a bar. Tokens, secrets and assertions are cut to their first "
    "characters. Each kind of exchange is explained once. The rules are in the RFCs, such as RFC "
    "7523 at https://www.rfc-editor.org/rfc/rfc7523."
)


class Lesson(NamedTuple):
    """The text about one kind of exchange; `claims` are those shown of an introspection."""

    title: str
    request: str = ""
    question: str = ""
    verdict: str = ""
    answer: str = ""
    claims: tuple[str, ...] = ("active", ROLES_CLAIM)


# In the order in which the demo comes to them, on which the texts rely.
LESSONS = {
    "urn:ietf:params:oauth:grant-type:jwt-bearer": Lesson(
        "A token for a signed assertion",
        "The client in service-user-jwt requests an access token. It has a private key, and "
        "ZITADEL has the public half. So it signs an assertion (RFC 7523, sections 2.1 and 3): who "
        "it is (iss, sub), who the assertion is for (aud), and when it is valid (iat, exp). It is "
        "backdated a minute because ZITADEL rejects assertions dated in the future. The key itself "
        "is never sent. The scope names the project whose APIs the token is for.",
        answer="ZITADEL has checked the signature and the claims, and issues an access token (RFC "
        "6749, section 5.1). Anyone who has it can use it, for expires_in seconds.",
    ),
    "assertion": Lesson(
        "A call to a protected route, and how the API checks it",
        "The client sends the token in the Authorization header (RFC 6750, section 2.1). In the "
        "URL it would end up in logs.",
        "To the API in api-jwt the token is a random text. So it asks ZITADEL: introspection (RFC "
        "7662, section 2.1). It must prove who it is, or anyone could try out guessed tokens here. "
        "This API signs an assertion with a key of its own (RFC 7523, section 2.2).",
        "The token is active, so the other members apply (RFC 7662, section 2.2): whose token it "
        "is (sub), which project it is for (aud), when it expires (exp), and the user's roles, "
        "which are ZITADEL's own addition.",
        "This route requires an active token but no role. The API accepts the call.",
        ("active", "scope", "exp", "sub", "aud", ROLES_CLAIM),
    ),
    "client_credentials": Lesson(
        "A token for a client id and a secret",
        "The client in service-user-client-credentials has no key. It sends its id and a secret, "
        "as a person sends a name and a password (RFC 6749, sections 4.4 and 2.3.1). Base64 hides "
        "nothing: only https protects the secret in transit. A signed assertion is safer.",
        answer="The same kind of answer. The client uses the token as in chapter 2.",
    ),
    "personal": Lesson(
        "A token issued in advance",
        "The client in service-user-pat doesn't request a token. ZITADEL issued a personal access "
        "token in advance, and the client sends it like any other (RFC 6750, section 2.1). That is "
        "the simplest way. But such a token is often valid for months, and a thief can use it for "
        "just as long.",
        "The API asks as in chapter 2.",
        "ZITADEL itself adds the API that asks and its project to aud. So a personal access token "
        "is active at every API: only a role keeps its user out.",
        "The API needn't know how the client got its token.",
        ("active", "sub", "aud", ROLES_CLAIM),
    ),
    "role": Lesson(
        "The role is missing: 403",
        "This route requires the role read:messages. Another service account calls it.",
        "The API asks as in chapter 2.",
        f"The token is active, but the claim {ROLES_CLAIM} is missing: this user has no role. The "
        "role in scope proves nothing: for a personal access token ZITADEL lists all the project's "
        "roles there, even those its user doesn't have.",
        "The API knows who is calling but doesn't allow it. Another token of the same user would "
        "not help (RFC 6750, section 3.1).",
        ("active", "scope", "sub"),
    ),
    "no token": Lesson(
        "No token: 401",
        "A call without an Authorization header.",
        answer="The API needn't ask ZITADEL. WWW-Authenticate says what is required, a bearer "
        "token (RFC 6750, section 3). It names no error, since there was no token that could be "
        "wrong (section 3.1).",
    ),
    "inactive": Lesson(
        "A token that isn't active: 401",
        "This token is made up.",
        "The API asks as in chapter 2.",
        "ZITADEL doesn't say why (RFC 7662, section 2.2). Made up, expired, revoked, meant for "
        "another project: it all looks the same, so that guessing reveals nothing. For a token of "
        "your own, diagnose.py finds the cause.",
        "Another token can help here: that is what 401 and invalid_token say (RFC 6750, section "
        "3.1).",
    ),
    "basic": Lesson(
        "The other API: it asks with a client id and a secret",
        "The call of chapter 2, now to api-basic-authentication.",
        "The same question, but this API has no key. It proves who it is with its id and a secret "
        "(RFC 7662, section 2.1, and RFC 6749, section 2.3.1). That is simpler to set up, but the "
        "secret is sent with every question.",
        "However an API authenticates, ZITADEL's answer is the same.",
        "To the client, both APIs look alike.",
    ),
}
