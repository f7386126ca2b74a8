"""From an address to a checkpoint folder: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN_ID`.

What was fetched stays in the user's cache, a folder per version, so that it is fetched once and is still there when
the store is not.
"""

import hashlib
import json
import re
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ead_core.checkpoints.checkpoint import WEIGHTS
from ead_core.common.documents import read_json
from ead_core.common.files import user_cache, write_aside
from ead_core.errors import CheckpointError, DataError, OutputError, one_line
from ead_platform.cluster.credentials import hide_credentials
from ead_platform.cluster.settings import Settings
from ead_platform.tracking.runs import CHECKPOINT
from ead_platform.tracking.store import StoreError, open_store

IN_MODEL = f"artifacts/{CHECKPOINT}"  # the same of a registered version (packing.py)
MODEL_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")
RUN_ADDRESS = re.compile(r"runs:/(?P<run>\w+)(/(?P<path>.+))?")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")  # what stores answer to a wrong name


@dataclass(frozen=True)
class Found:
    """What an address means.

    Attributes:
        pinned: the address that will always mean the same.
        source: where the store keeps the files.
        folder: in the cache, relative; it names the version, and another one if the files were replaced.
    """

    pinned: str
    source: str
    folder: str


def local_folder(address: str) -> Path:
    """Folder of the checkpoint at an address, from the store of this process's environment.

    Raises:
        CheckpointError: malformed, or nothing is there.
        StoreError: the store cannot be reached, and the cache does not know the address.
    """
    return fetched(address, Settings.from_environment())


def fetched(address: str, settings: Settings) -> Path:
    """The local folder of a checkpoint in a given store."""
    return _present(look_up(address, settings), settings)


def pinned(address: str, settings: Settings) -> str:
    """The address of the very version that an alias means now, for processes that shall all get the same.

    Raises:
        CheckpointError, StoreError: as `local_folder`.
    """
    found = look_up(address, settings)
    _present(found, settings)
    return found.pinned


def look_up(address: str, settings: Settings) -> Found:
    """What an address means now; while the store is away, what it meant last, with a warning.

    Raises:
        CheckpointError, StoreError: as `local_folder`.
    """
    try:
        _require_store(settings)
        with open_store(settings) as (client, _):
            found = _found(address, client)
    except StoreError as error:
        last = _remembered(_memory(address, settings))
        if last is None:
            raise
        print(f"warning: {error} {address} is taken for {last.pinned}, as last seen.", file=sys.stderr)
        return last
    for known in {address, found.pinned}:
        with write_aside(_memory(known, settings)) as aside:
            aside.write_text(json.dumps(asdict(found)))
    return found


def _remembered(memory: Path) -> Found | None:
    """What an address meant last; None if nobody has asked, or what was kept is damaged."""
    try:
        return Found(**read_json(memory))
    except (OSError, ValueError, TypeError, DataError):
        return None


def _require_store(settings: Settings) -> None:
    """A question must not create the SQLite file that it is put to."""
    scheme, _, path = settings.tracking_uri.partition(":///")
    if scheme == "sqlite" and not Path(path.partition("?")[0]).exists():
        raise StoreError(f"there is no MLflow store {settings.shown_uri}; set MLFLOW_TRACKING_URI to one.")


def _found(address: str, client: MlflowClient) -> Found:
    try:
        if match := MODEL_ADDRESS.fullmatch(address):
            return _version(client, **match.groupdict())
        if match := RUN_ADDRESS.fullmatch(address):
            return _run(client, match["run"], match["path"] or CHECKPOINT)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        reason = hide_credentials(one_line(error), client.tracking_uri)
        raise CheckpointError(f"the store has no {address} ({reason}).") from error
    raise CheckpointError(
        f"'{address}' must look like models:/ead-qm9@champion, models:/ead-qm9/3 or runs:/RUN_ID[/{CHECKPOINT}]."
    )


def _version(client: MlflowClient, name: str, alias: str | None, version: str | None) -> Found:
    entry = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, str(version))
    source = f"{client.get_model_version_download_uri(name, str(entry.version))}/{IN_MODEL}"
    return Found(f"models:/{name}/{entry.version}", source, f"{_digest(source)}/{_plain(name)}-v{entry.version}")


def _run(client: MlflowClient, run_id: str, path: str) -> Found:
    """A training that goes on writes new files into its run, and then ends at another time."""
    run = client.get_run(run_id)
    source = f"{run.info.artifact_uri}/{path}"
    name = _plain(str(run.info.run_name or run_id))
    return Found(f"runs:/{run_id}/{path}", source, f"{_digest(f'{source} {run.info.end_time}')}/{name}")


def _present(found: Found, settings: Settings) -> Path:
    """Its folder in the cache, filled if it was not: aside and renamed, so that others see all files or none.

    Raises:
        CheckpointError: there is no checkpoint.
        OutputError: the cache cannot be written.
    """
    folder = store_cache(settings) / found.folder
    if (folder / WEIGHTS).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.mkdtemp(prefix=".writing-", dir=folder.parent)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}.") from error
    try:
        with open_store(settings):
            files = Path(_download(found, aside, settings))
        if not (files / WEIGHTS).is_file():
            raise CheckpointError(f"what is stored at {found.pinned} is no checkpoint (it has no {WEIGHTS}).")
        _rename(files, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _rename(files: Path, folder: Path) -> None:
    try:
        files.rename(folder)
    except OSError as error:
        if not (folder / WEIGHTS).is_file():  # else another process was faster, with the same files
            raise OutputError(f"cannot write {folder}: {error.strerror or error}.") from error


def _download(found: Found, target: str, settings: Settings) -> str:
    try:
        return mlflow.artifacts.download_artifacts(found.source, dst_path=target, tracking_uri=settings.tracking_uri)
    except MlflowException as error:
        reason = hide_credentials(one_line(error), settings.tracking_uri)
        raise CheckpointError(f"{found.pinned} has no checkpoint that can be fetched ({reason}).") from error


def store_cache(settings: Settings) -> Path:
    """Where what concerns a store is kept on this machine."""
    return user_cache() / "registry" / _digest(settings.tracking_uri)


def _memory(address: str, settings: Settings) -> Path:
    return store_cache(settings) / "addresses" / f"{_digest(address)}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(name: str) -> str:
    """Fit for the name of a folder, also if it begins with a dot."""
    return re.sub(r"^\.|[^\w.-]", "-", name)
