"""What ZITADEL answers under /oauth/v2: tokens for service accounts, and introspection."""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_decode

from state import (
    Application,
    Json,
    RejectionError,
    RoleAssignment,
    State,
    Token,
    User,
    json_object,
)

Form = Mapping[str, str]
Owner = TypeVar("Owner", Application, User)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PROJECT_AUDIENCE = re.compile(r"urn:zitadel:iam:org:project:id:(.+):aud")
ROLE_SCOPE = "urn:zitadel:iam:org:project:role:"
OPEN_SCOPE = re.compile(rf"{PROJECT_AUDIENCE.pattern}$|{ROLE_SCOPE}")
ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
METADATA_SCOPE = "urn:zitadel:iam:user:metadata"
OWNER_SCOPE = "urn:zitadel:iam:user:resourceowner"
SCOPES = ["openid", "profile", "email", "phone", "address", "offline_access"]
KNOWN_SCOPES = {*SCOPES, METADATA_SCOPE, OWNER_SCOPE, "urn:zitadel:iam:org:projects:roles"}
CLIENT_METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
AHEAD_SECONDS = 1
AGE_SECONDS = 3600
# A secret, pasted into the wrong field, looks like neither of these.
HARMLESS = re.compile(r"[0-9]{1,20}|https?://[a-zA-Z0-9.:/_-]{1,100}")
log = logging.getLogger("local-zitadel")


def discovery(issuer: str) -> Json:
    """Return the discovery document, which like ZITADEL's lists more than exists here."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/v2/authorize",
        "token_endpoint": f"{issuer}/oauth/v2/token",
        "introspection_endpoint": f"{issuer}/oauth/v2/introspect",
        "userinfo_endpoint": f"{issuer}/oidc/v1/userinfo",
        "revocation_endpoint": f"{issuer}/oauth/v2/revoke",
        "end_session_endpoint": f"{issuer}/oidc/v1/end_session",
        "device_authorization_endpoint": f"{issuer}/oauth/v2/device_authorization",
        "jwks_uri": f"{issuer}/oauth/v2/keys",
        "scopes_supported": SCOPES,
        "response_types_supported": ["code", "id_token", "id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": (
            "authorization_code implicit refresh_token client_credentials "
            f"{JWT_BEARER} urn:ietf:params:oauth:grant-type:device_code"
        ).split(),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": (
            "EdDSA RS256 RS384 RS512 ES256 ES384 ES512".split()
        ),
        "request_object_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": CLIENT_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint_auth_methods_supported": CLIENT_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "claims_supported": (
            "sub aud exp iat iss auth_time nonce acr amr c_hash at_hash act scopes client_id azp "
            "preferred_username name family_name given_name locale email email_verified "
            "phone_number phone_number_verified"
        ).split(),
        "code_challenge_methods_supported": ["S256"],
        "ui_locales_supported": (
            "ar bg cs de en es fr hu id it ja ko mk nl pl pt ro ru sv tr uk zh".split()
        ),
        "request_parameter_supported": True,
        "request_uri_parameter_supported": False,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }


def oauth_error(error: str, description: str = "", reason: str = "") -> RejectionError:
    """Return a rejection in the OAuth endpoints' form."""
    body = {"error": error}
    if description:
        body["error_description"] = description
    return RejectionError(400, body, reason or description)


def shown(value: object) -> str:
    """Return a value that a caller sent as the log may show it: ids and addresses only."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value[:5]))}{', …' if len(value) > 5 else ''}]"
    if value is None:
        return "missing"
    if isinstance(value, str) and HARMLESS.fullmatch(value):
        return f"'{value}'"
    return "a value not shown here"


# Who is asking


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Return client id and secret from the header, None if it isn't a Basic authorization."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded, validate=True).decode(errors="replace")
    except ValueError:
        return None
    client_id, colon, secret = pair.partition(":")
    if not colon:
        return None
    if re.search(r"%(?![0-9A-Fa-f]{2})", pair):
        raise oauth_error(
            "invalid_client",
            "invalid basic auth header",
            "client id and secret must each be form-url-encoded in a Basic authorization",
        )
    return unquote_plus(client_id), unquote_plus(secret)


def client_credentials(form: Form, header: str) -> tuple[str, str, str]:
    """Return client id, secret and assertion as sent; the header takes precedence."""
    in_form = form.get("client_id", ""), form.get("client_secret", "")
    client_id, secret = basic_credentials(header) or in_form
    assertion = form.get("client_assertion", "")
    if not client_id and not assertion:
        description = "client_id or client_assertion must be provided"
        reason = "there is neither a readable Basic authorization nor a client_assertion"
        raise oauth_error("invalid_request", description, reason)
    assertion_type = form.get("client_assertion_type", "")
    if assertion and assertion_type != ASSERTION_TYPE:
        description = f"invalid client_assertion_type {assertion_type}"
        reason = f"client_assertion_type is not {ASSERTION_TYPE}"
        raise oauth_error("invalid_request", description, reason)
    return client_id, secret, assertion


class BadAssertionError(Exception):
    """The assertion or the client is invalid; the text says why."""


class NotAnAssertionError(BadAssertionError):
    """The assertion is not a JWT."""


def check_assertion(assertion: str, kind: type[Owner], state: State, issuer: str) -> Owner:
    """Return whose assertion it is, an API's or a service account's as `kind` says."""
    header, claims = parts(assertion)
    owner = verify_signature(assertion, header, kind, state)
    identity = owner.client_id if isinstance(owner, Application) else owner.id
    if claims.get("iss") != claims.get("sub"):
        raise BadAssertionError("the assertion's iss and sub differ")
    if claims.get("iss") != identity:
        problem = f"the assertion's iss is {shown(claims.get('iss'))}"
        raise BadAssertionError(f"{problem}, but its key belongs to '{identity}'")
    audience = claims.get("aud")
    if audience != issuer and not (isinstance(audience, list) and issuer in audience):
        raise BadAssertionError(f"the assertion's audience is {shown(audience)}, not '{issuer}'")
    verify_times(claims)
    return owner


def parts(assertion: str) -> tuple[Json, Json]:
    """Return the header and the claims, unverified."""
    try:
        encoded_header, encoded_claims, _ = assertion.split(".")
        header = json_object(base64url_decode(encoded_header))
        claims = json_object(base64url_decode(encoded_claims))
    except ValueError:
        header = claims = None
    if header is None or claims is None:
        raise NotAnAssertionError("the assertion is not a JWT")
    return header, claims


def verify_signature(assertion: str, header: Json, kind: type[Owner], state: State) -> Owner:
    """Return the owner of the key that signed."""
    if header.get("alg") != "RS256":
        raise BadAssertionError("the assertion's alg is not RS256")
    kid = header.get("kid")
    key = state.key(kid)
    if key is None:
        raise BadAssertionError(f"no key has the assertion's kid ({shown(kid)})")
    if key.removed:
        raise BadAssertionError(f"key {key.id} is no longer valid: {key.removed}")
    if not isinstance(key.owner, kind):
        names = {Application: "an API", User: "a service account"}
        problem = f"key {key.id} belongs to {names[type(key.owner)]}"
        raise BadAssertionError(f"{problem}, but {names[kind]}'s is required")
    if key.expires <= time.time():
        raise BadAssertionError(f"key {key.id} has expired")
    if not is_signed(assertion, key.public_key):
        raise BadAssertionError(f"the assertion isn't signed with its kid's key, {key.id}")
    return key.owner


def is_signed(text: str, public_key: rsa.RSAPublicKey) -> bool:
    """Return whether the JWT is signed with this key."""
    try:
        jwt.PyJWS().decode(text, public_key, algorithms=["RS256"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False
    return True


def verify_times(claims: Json) -> None:
    """Reject an assertion that has expired, is too old, or is dated in the future."""
    for name in ("iat", "exp"):
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise BadAssertionError(f"the assertion's {name} is missing or not a number")
    now = time.time()
    if claims["iat"] > now + AHEAD_SECONDS:
        distance = seconds(claims["iat"] - int(now))
        raise BadAssertionError(f"the assertion's iat is {distance} ahead of this clock")
    if claims["iat"] < now - AGE_SECONDS:
        distance = seconds(int(now) - claims["iat"])
        raise BadAssertionError(f"the assertion's iat is {distance} in the past, more than an hour")
    if claims["exp"] <= now:
        distance = seconds(int(now) - claims["exp"])
        raise BadAssertionError(f"the assertion expired {distance} ago by this clock")


def seconds(distance: float) -> str:
    """Return a distance, which may be any number, as the log shows it."""
    return f"{min(distance, 10**10):.0f} s"


# The endpoints


@dataclass
class LocalZitadel:
    """The OAuth endpoints of the ZITADEL that a request reached under the address `issuer`."""

    state: State
    issuer: str
    token_seconds: int

    def keys(self) -> Json:
        """Return the public key of id_tokens and JWT access tokens."""
        key = RSAAlgorithm.to_jwk(self.state.signing_key.public_key(), as_dict=True)
        about = {"use": "sig", "kid": self.state.signing_key_id, "alg": "RS256"}
        return {"keys": [{**about, "kty": key["kty"], "n": key["n"], "e": key["e"]}]}

    def token(self, form: Form, header: str) -> Json:
        """Answer a token request."""
        grant_type = form.get("grant_type", "")
        if grant_type == JWT_BEARER:
            return self._issue(self._user_by_assertion(form), form, [])
        if grant_type == "client_credentials":
            return self._issue(self._user_by_secret(form, header), form, ["pwd"])
        if not grant_type:
            raise oauth_error("invalid_request", "grant_type missing")
        description = f"{grant_type} not supported"
        reason = f"the grant_type is neither {JWT_BEARER} nor client_credentials"
        raise oauth_error("unsupported_grant_type", description, reason)

    def _user_by_assertion(self, form: Form) -> User:
        assertion = form.get("assertion", "")
        if not assertion:
            raise oauth_error("invalid_request", "assertion missing")
        try:
            return check_assertion(assertion, User, self.state, self.issuer)
        except BadAssertionError as error:
            raise oauth_error("invalid_grant", "invalid assertion", str(error)) from None

    def _user_by_secret(self, form: Form, header: str) -> User:
        client_id, secret, _ = client_credentials(form, header)
        user = self.state.find(User, login_name=client_id)
        if user is None:
            reason = "no service account has this username"
            if self.state.find(User, id=client_id):
                reason = f"the client id is the service account's id {client_id}, not its username"
            elif self.state.find(Application, client_id=client_id):
                reason = f"the client id {client_id} is an API's, not a service account's"
            raise oauth_error("invalid_client", "client not found", reason)
        if not user.secret_digest:
            description = "Errors.User.Machine.Secret.NotExisting"
            raise oauth_error("invalid_request", description, f"account {user.id} has no secret")
        if not self.state.has_secret(user, secret):
            description = "Errors.User.Machine.Secret.Invalid"
            raise oauth_error("invalid_request", description, f"wrong secret for account {user.id}")
        return user

    def _issue(self, user: User, form: Form, methods: list[str]) -> Json:
        requested = form.get("scope", "").split()
        if not requested:
            description = (
                "The scope of your request is missing. Please ensure some scopes are requested. "
                "If you have any questions, you may contact the administrator of the application."
            )
            raise oauth_error("invalid_request", description, "the scope is missing")
        if not user.is_active:
            reason = f"service account {user.id} is deactivated or locked"
            raise oauth_error("invalid_request", "Errors.User.NotActive", reason)
        scopes = [scope for scope in requested if scope in KNOWN_SCOPES or OPEN_SCOPE.match(scope)]
        projects = [match[1] for match in map(PROJECT_AUDIENCE.fullmatch, scopes) if match]
        audience = list(dict.fromkeys(projects))
        expires = time.time() + self.token_seconds
        token = Token(user, expires, audience=audience, scopes=scopes, methods=methods)
        text = ""
        if user.gets_jwts:
            own = {"nbf": int(token.created), "client_id": user.login_name, "jti": token.id}
            text = self._jwt(token, aud=token.audience, **own)
        answer = {
            "access_token": self.state.add_token(token, text),
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
        }
        if "openid" in scopes:
            answer["id_token"] = self._jwt(token, aud=[user.login_name, *token.audience])
        return answer

    def _jwt(self, token: Token, **own: Any) -> str:
        claims: Json = {
            "iss": self.issuer,
            "sub": token.user.id,
            "exp": int(token.expires),
            "iat": int(token.created),
            **own,
        }
        headers = {"kid": self.state.signing_key_id}
        return jwt.encode(claims, self.state.signing_key, "RS256", headers)

    def _jwt_problem(self, text: str) -> str:
        """Return why the JWT isn't an access token from here, "" if it is one."""
        try:
            header, _ = parts(text)
        except NotAnAssertionError:
            return "the token has the three parts of a JWT but can't be read as one"
        key_id, kid = self.state.signing_key_id, header.get("kid")
        if header.get("alg") != "RS256":
            return "the token's alg is not RS256"
        if kid != key_id:
            key = f"'{key_id}' as at /oauth/v2/keys"
            return f"the token's kid is {shown(kid)}, not {key}; a restart creates a new key"
        if not is_signed(text, self.state.signing_key.public_key()):
            return f"the token isn't signed with key {key_id}: it was forged or changed"
        if self.state.find_token(text)[0] is None:
            return "the token is an id_token, which is for the client alone"
        return ""

    def introspect(self, form: Form, header: str) -> Json:
        """Answer an API's introspection of a token."""
        client_id, secret, assertion = client_credentials(form, header)
        text = form.get("token", "")
        if not text:
            raise oauth_error("invalid_request", "token missing")
        try:
            api = self._api(client_id, secret, assertion)
        except NotAnAssertionError as error:  # ZITADEL blames the token for this
            return inactive(str(error))
        except BadAssertionError as error:
            raise oauth_error("unauthorized_client", reason=str(error)) from None
        if api.problem:
            raise oauth_error("unauthorized_client", reason=api.problem)
        jwt_problem = self._jwt_problem(text) if text.count(".") == 2 else ""
        token, problem = self.state.find_token(text)
        if jwt_problem or token is None or problem:
            return inactive(jwt_problem or problem)
        audience = [api.client_id, api.project.id] if token.is_personal else token.audience
        if api.client_id not in audience and api.project.id not in audience:
            return inactive(
                f"the token's audience {shown(audience)} contains neither this API's client id "
                f"{api.client_id} nor its project {api.project.id}"
            )
        return self._claims(token, api, audience)

    def _api(self, client_id: str, secret: str, assertion: str) -> Application:
        if assertion:
            return check_assertion(assertion, Application, self.state, self.issuer)
        found = self.state.find(Application, client_id=client_id)
        if found is None:
            raise BadAssertionError(f"no API has this client id ({shown(client_id)})")
        if found.uses_key:
            raise BadAssertionError(f"API {client_id} requires a key, but a secret was sent")
        if not self.state.has_secret(found, secret):
            raise BadAssertionError(f"wrong secret for API {client_id}")
        return found

    def _claims(self, token: Token, api: Application, audience: list[str]) -> Json:
        user, scopes = token.user, token.scopes
        if token.is_personal:
            roles = [f"{ROLE_SCOPE}{role}" for role in api.project.roles]
            scopes = ["openid", "profile", METADATA_SCOPE, OWNER_SCOPE, *roles]
        claims: Json = {
            "active": True,
            "scope": " ".join(scopes),
            "token_type": "Bearer",
            "exp": int(token.expires),
            "iat": int(token.created),
            "nbf": int(token.created),
            "sub": user.id,
            "aud": audience,
            "iss": self.issuer,
            "jti": token.id,
        }
        if not token.is_personal:
            claims |= {"client_id": user.login_name, "auth_time": int(token.created)}
        if token.methods:
            claims["amr"] = token.methods
        if "profile" in scopes:
            names = {"username": user.login_name, "preferred_username": user.login_name}
            claims |= {**names, "name": user.name, "updated_at": int(user.created)}
        if OWNER_SCOPE in scopes:
            claims[f"{OWNER_SCOPE}:id"] = user.organization.id
            claims[f"{OWNER_SCOPE}:name"] = user.organization.name
            claims[f"{OWNER_SCOPE}:primary_domain"] = user.organization.domain
        assigned = self.state.find(RoleAssignment, user=user, project=api.project)
        if assigned and assigned.is_active:
            prefix, organization = len(ROLE_SCOPE), assigned.organization
            requested = [scope[prefix:] for scope in scopes if scope.startswith(ROLE_SCOPE)]
            granted = {
                role: {organization.id: organization.domain}
                for role in assigned.roles
                if not requested or role in requested
            }
            if granted:
                claims[ROLES_CLAIM] = granted
                claims[f"urn:zitadel:iam:org:project:{api.project.id}:roles"] = granted
        return claims


def inactive(reason: str) -> Json:
    """Return ZITADEL's bare answer, and log why."""
    log.info("introspection: inactive, %s", reason)
    return {"active": False}
