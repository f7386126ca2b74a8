"""What both clients are made with."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from ead_client.errors import ClientError

CONNECT_SECONDS = 10


def options(address: str, key: str | None, timeout: float) -> dict[str, Any]:
    """Arguments for a client of httpx (ClientError: an address that is none)."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"'{address}' is no address of a service; write one like http://127.0.0.1:8000.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {
        "base_url": address.rstrip("/"),
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=CONNECT_SECONDS),
    }


def body_of(num: int | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body that are given: None leaves one out (ClientError: `format`, which is JSON here)."""
    if "format" in fields:
        raise ClientError("leave `format` out: molecules come with all formats, as Molecules.sdf() or .frame().")
    return {name: value for name, value in {"num": num, **fields}.items() if value is not None}
