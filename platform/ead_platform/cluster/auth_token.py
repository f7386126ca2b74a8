"""Ray's authentication token: where it is, who may read it, and what to say where it is not the right one."""

import contextlib
import os
import secrets
from pathlib import Path

DEFAULT_FILE = Path("~/.ray/auth_token")  # where Ray itself looks last
PRIVATE = 0o600


def token_file() -> Path:
    """The file that Ray takes its token from."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or DEFAULT_FILE).expanduser()


def stored_token() -> str | None:
    """The token, from where Ray itself takes it and in the same order; None if there is none."""
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    try:
        return token_file().read_text().strip() or None
    except OSError:
        return None


def keep_token_private(create: bool = False) -> None:
    """Let only its owner read the token of the home folder, whoever made it: Ray makes it readable for all.

    Args:
        create: make a token where there is none at all, as Ray does when it starts
            a cluster, but never readable by others.
    """
    file = DEFAULT_FILE.expanduser()
    if create and stored_token() is None:
        with contextlib.suppress(OSError):  # a home that cannot be written: then Ray reports it
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w") as new:
                new.write(secrets.token_hex(32))
    with contextlib.suppress(OSError):  # there is none, or it is somebody else's
        file.chmod(PRIVATE)


def token_refused(place: str, token: str | None) -> str:
    """What to do about a cluster that does not take the token, or demands one where none was sent."""
    if token is None:
        return (
            f"the cluster at {place} demands a token and there is none here: copy the cluster's {DEFAULT_FILE} to "
            f"{token_file()}, or set RAY_AUTH_TOKEN to what `ray get-auth-token` prints there."
        )
    origin = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN", "").strip() else str(token_file())
    return (
        f"the cluster at {place} demands another token than the one in {origin}; `ray get-auth-token`, where the "
        "cluster was started, prints the right one."
    )
