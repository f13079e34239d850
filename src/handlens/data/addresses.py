"""Addresses of what lies elsewhere, such as s3://bucket/photos, told from paths and told without secrets."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from handlens.base.errors import HandlensError

WEB = {"http", "https"}

# These need no network.
LOCAL = {"file", "local", "memory", "zip", "tar"}

_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MANGLED = re.compile(r"[a-z][a-z0-9+.-]+:[/\\](?![/\\])", re.IGNORECASE)

# Up to the last @ before the first slash: a password may have one too.
_USER = re.compile(r"(?<=://)[^/]*@")
_USER_IN_TEXT = re.compile(r"(?<=://)[^/\s]*@")

# What signs an address for some days: the place is the same without it.
_SIGNATURES = {"signature", "expires", "key-pair-id", "policy", "token", "awsaccesskeyid", "googleaccessid"}
_AZURE = {"sig", "se", "st", "sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv"}
_SIGNATURE_STARTS = ("x-amz-", "x-goog-")


def is_address(text: str) -> bool:
    """Whether a text is an address such as s3://bucket/photos, and not a path on this machine."""
    return _ADDRESS.match(text) is not None


def refuse_mangled(path: Path) -> None:
    """An address that was made a path has lost a slash, and would be looked for in the current folder."""
    if _MANGLED.match(str(path)) and not path.exists():
        raise HandlensError(
            f"{path} was an address before it became a path. Give it as text, such as 's3://bucket/photos'."
        )


def refuse_offline(address: str) -> None:
    """Nothing is asked for on a network where that was switched off."""
    if os.environ.get("HANDLENS_OFFLINE", "0") in ("", "0"):
        return
    protocols = {part.partition("://")[0].lower() for part in address.split("::") if "://" in part}
    if not protocols <= LOCAL:
        raise HandlensError(
            f"{without_secrets(address)} lies elsewhere, and HANDLENS_OFFLINE forbids to fetch it. Unset it, "
            "or give pictures on this machine."
        )


def protocol_of(address: str) -> str:
    """What stands before the first ://, without what only keeps copies, such as simplecache::."""
    return address.partition("://")[0].rpartition("::")[2].lower()


def without_query(address: str) -> str:
    """An address without what stands behind a question mark, if it is one of the web."""
    return address.partition("?")[0] if protocol_of(address) in WEB else address


def without_secrets(address: str) -> str:
    """An address as it may be told: without passwords, keys and signatures."""
    told = "::".join(without_query(part) for part in _USER.sub("", address).split("::"))
    return told if told.endswith("://") else told.rstrip("/")


def text_without_secrets(text: str) -> str:
    """The same for a text with addresses in it, such as the message of an error."""
    text = _USER_IN_TEXT.sub("", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\")]*", r"\1", text, flags=re.IGNORECASE)


def word_without_secrets(word: str) -> str:
    """The same for a word of a command: an address, or an option with one, such as --data=https://host/x."""
    option, equals, value = word.partition("=")
    if equals and not is_address(word):
        return f"{option}={without_secrets(value)}" if is_address(value) else word
    return without_secrets(word) if is_address(word) else word


def place_of(address: str) -> str:
    """What an address is known by: without passwords, and without signatures that change from day to day."""
    place = _USER.sub("", address)
    bare, mark, query = place.partition("?")
    if mark and protocol_of(place) in WEB:
        pairs = parse_qsl(query, keep_blank_values=True)
        # Those of Azure are two letters, which may mean anything if they do not sign.
        azure = _AZURE if any(key.lower() == "sig" for key, _ in pairs) else set()
        kept = [
            (key, value)
            for key, value in pairs
            if key.lower() not in _SIGNATURES | azure and not key.lower().startswith(_SIGNATURE_STARTS)
        ]
        place = f"{bare}?{urlencode(kept)}" if kept else bare
    return place.rstrip("/")
