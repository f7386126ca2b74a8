"""Keeping the passwords of addresses out of what people see."""

import re
from urllib.parse import unquote

HIDDEN = "***"
_USER_INFO = re.compile(r"(?<=://)(?![/@])(?P<user>[^\s/@:]*)(?P<password>:\S*)?@")
_PARAMETER = re.compile(
    r"(?P<key>(?:password|passwd|pwd|passphrase|secret|token|credential|api_?key|access_?key)\w*(?:=|%3D))"
    r"(?P<value>(?:(?!%3B|%26)[^\s&;'\"])+)",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[:@/?#\[\]]+")
SHORTEST = 3  # letters of a part of a password that is looked for on its own


def hide_credentials(text: object, *addresses: str) -> str:
    """A text without the passwords of the addresses in it.

    Args:
        text: a message, an address, or an error.
        addresses: whose passwords are hidden wherever they stand in the text: what connects to a place may name its
            password without the address around it, decoded, or cut at a sign that should have been encoded.

    Returns:
        The text with `***` for `password` in `scheme://user:password@host`, for a user who comes without a password to
        an HTTP server, which is a token, and for parameters such as `password=` and `token=`.
    """
    shown = _PARAMETER.sub(rf"\g<key>{HIDDEN}", _USER_INFO.sub(_without_password, str(text)))
    secrets = {part for address in addresses for part in _secrets(address)}
    for secret in sorted(secrets, key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN)
    return shown


def _without_password(found: re.Match[str]) -> str:
    if found["password"] is not None:
        return f"{found['user']}:{HIDDEN}@"
    before = found.string[: found.start()].lower()
    return f"{HIDDEN}@" if before.endswith(("http://", "https://")) else found[0]


def _secrets(address: str) -> set[str]:
    """The passwords of an address, as they stand and decoded, and their parts."""
    given = [found["value"] for found in _PARAMETER.finditer(address)]
    if (found := _USER_INFO.search(address)) and found["password"]:
        given.append(found["password"][1:])
    spellings = {spelling for each in given for spelling in (each, unquote(each))}
    return {part for each in spellings for part in (each, *_PARTS.split(each)) if len(part) >= SHORTEST}
