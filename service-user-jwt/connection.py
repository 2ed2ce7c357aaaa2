"""What a failed connection means, in sentences with the remedy.

The scripts and the programs in the root share this file. It isn't meant for copying:
the files that are say what happened, and leave the explanation to this one.
"""

import os
import re
import ssl
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")


def is_loopback(url: str) -> bool:
    """Tell whether `url` is an address of this machine."""
    return bool(LOOPBACK.fullmatch(urlsplit(url).hostname or ""))


def session_for(url: str) -> requests.Session:
    """Return a session with the environment's certificates and proxy for `url`.

    There is no proxy for this machine's own addresses, and no password is taken from
    ~/.netrc.
    """
    session = requests.Session()
    environment = session.merge_environment_settings(
        url, proxies={}, stream=None, verify=None, cert=None
    )
    session.verify = environment["verify"]
    session.proxies = {} if is_loopback(url) else environment["proxies"]
    session.trust_env = False
    return session


def through_proxy(url: str) -> str:
    """Return " through the proxy …" without its password, "" if there is none."""
    with session_for(url) as session:
        proxy = select_proxy(url, session.proxies)
    return f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""


def printable(text: object) -> str:
    """Return what others sent with control characters escaped: terminals obey them."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in str(text)
    )


def seconds_ahead(answer: requests.Response) -> float | None:
    """Return by how many seconds this clock is ahead of the answer's Date, if any."""
    try:
        date = parsedate_to_datetime(answer.headers["Date"])
        return time.time() - date.timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def explanation(error: Exception, url: str, setting: str) -> str:
    """Return why `url` didn't answer, and what to do, in sentences.

    Args:
        error: what requests raised, or an error that wraps it.
        url: the address that was called.
        setting: where the address comes from, such as a variable and its file.
    """
    via, cause = through_proxy(url), _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate_problem(cause, f"{url}{via}")
    is_no_file = type(cause) is OSError and "invalid path" in str(cause)
    if getattr(cause, "library", "") == "X509" or is_no_file:
        variable = _certificate_variable() or "REQUESTS_CA_BUNDLE"
        return (
            f"{variable} doesn't name a file with certificates: correct or remove this "
            "variable."
        )
    if isinstance(cause, ssl.SSLError):
        return _tls_problem(cause, url, via, setting)
    if isinstance(cause, OSError) and cause.filename == os.getenv("SSLKEYLOGFILE", ""):
        return (
            f"SSLKEYLOGFILE names a file that can't be written ({cause.strerror}): "
            "correct or remove this variable."
        )
    if "SOCKS" in str(cause):
        return (
            f"{url} is to be reached{via}, which requires PySocks: run `pip install "
            "'requests[socks]'`, or remove the variable of the proxy."
        )
    if tunnel := re.match(r"Tunnel connection failed: (.*)", str(cause)):
        return (
            f"{url} can't be reached{via}, which answered {tunnel[1]}: check the "
            "proxy, and its user and password, in HTTPS_PROXY."
        )
    if isinstance(cause, TimeoutError) or isinstance(error, requests.Timeout):
        return f"{url} didn't answer in time{via}: check {setting}, or try again."

    words = type(cause).__name__
    if isinstance(cause, OSError):  # others may quote what was sent
        words = cause.strerror or str(cause) or words
    proxy = " and the proxy" if via else ""
    return (
        f"{url} can't be reached{via} ({words}): check whether the server is "
        f"running{proxy}, and the address in {setting}."
    )


def _cause(error: BaseException) -> BaseException:
    """Return what the operating system or OpenSSL raised, and requests wraps."""
    # Not `__context__`, which leads on to what the caller itself may be handling.
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            return _cause(inner)
    return error


def _certificate_variable() -> str:
    return next(filter(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")), "")


def _certificate_problem(error: ssl.SSLCertVerificationError, where: str) -> str:
    if error.verify_code in (9, 10):  # not valid yet, expired
        now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        fix = f"renew it, or set this machine's clock if it isn't {now}"
    elif error.verify_code in (62, 64):  # another host, another address
        fix = "use a name that it contains, or have it issued for this one"
    elif error.verify_code not in (18, 19, 20, 21):  # all but an unknown authority
        fix = "have it, or its authority's certificate, issued anew without this fault"
    elif variable := _certificate_variable():
        fix = f"add its authority's certificate to the file that {variable} names"
    else:
        fix = "set REQUESTS_CA_BUNDLE to a file with its authority's certificate"
    reason = error.verify_message.rstrip(".")
    return f"The certificate of {where} is rejected ({reason}): {fix}."


def _tls_problem(error: ssl.SSLError, url: str, via: str, setting: str) -> str:
    reason = error.reason or str(error)
    # OpenSSL's words for an answer that isn't TLS; "HTTP/1.1 400" looks like a version.
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        fix = "write http://" if is_loopback(url) else "check the address and its port"
        return f"{url} doesn't speak https{via} ({reason}): {fix} in {setting}."
    # For an end without notice, OpenSSL 3.5 and newer has only this reason.
    ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    if isinstance(error, ends) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return (
            f"{url} ended the connection{via} instead of answering ({reason}): try "
            f"again, and check the address in {setting}."
        )
    return (
        f"{url} and this machine can't agree on an encrypted connection{via} "
        f"({reason}): ask whoever runs that server."
    )
