"""Submitting this repository to a Ray cluster as a job, and following the job's log.

Ray's own client demands that RAY_AUTH_MODE, the token file and the cluster were set up in one particular order. Here
the token is sent whenever there is one: a cluster that demands none ignores it.
"""

import asyncio
import os
import shlex
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from aiohttp import ClientError
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from ead_core.config import read_mapping
from ead_core.errors import EADError, one_line
from ead_platform.cluster.auth_token import keep_token_private, stored_token, token_refused
from ead_platform.cluster.credentials import hide_credentials
from ead_platform.cluster.revision import VARIABLE, revision

ANSWER_SECONDS = 10
START_SECONDS = 60
NOBODY_YET = "No available agent"
RUNTIME_ENV = Path("platform") / "clusters" / "runtime_env.yaml"
STORE = "MLFLOW_TRACKING_URI"
CLIENT_ERRORS = (RuntimeError, ValueError, TypeError, OSError, ClientError, RayError)  # Ray's client has no base class


@dataclass(frozen=True)
class Job:
    """A job that was submitted to a Ray cluster.

    Attributes:
        client: connection to the cluster that runs it.
        id: Ray's submission id.
        environment: assignments that make the `ray job` commands reach the same cluster.
    """

    client: JobSubmissionClient
    id: str
    environment: str

    def ray_command(self, verb: str) -> str:
        """What to type in a shell to `logs --follow`, `status` or `stop` this job."""
        return f"{self.environment} ray job {verb} {self.id}"


def submit(address: str, command: list[str], working_dir: Path) -> Job:
    """Ship the code in `working_dir` to the cluster and start `command` in the copy.

    Args:
        address: of the cluster's dashboard, as http://host:port.
        command: program and arguments; run by the shell of the node, with everything quoted.
        working_dir: a checkout of this repository; its `platform/clusters/runtime_env.yaml` says what is left out.

    Raises:
        EADError: an empty command, no checkout, no cluster, a token missing or wrong, or a package that is refused.
    """
    if not command:
        raise EADError("no command given; end with what to run, as in submit.py -- python platform/jobs/generate.py …")
    environment = runtime_env(working_dir)
    keep_token_private()
    headers = _introduce(address)
    # Ray lets RAY_ADDRESS, which a sweep may need, win over the address it is given; only this variable is stronger.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    try:
        client = JobSubmissionClient(address, headers=headers)
        job = _enter(client, shlex.join(command), environment)
    except CLIENT_ERRORS as error:
        raise EADError(_refusal(working_dir, error)) from error
    mode = "RAY_AUTH_MODE=token " if headers["Authorization"] else ""
    return Job(client, job, f"{mode}RAY_API_SERVER_ADDRESS={address}")


def runtime_env(working_dir: Path) -> dict[str, Any]:
    """The job's environment for Ray: the checkout's definition and revision, and the tracking store of this shell.

    Raises:
        EADError: `working_dir` is no checkout of this repository, the definition is malformed, or the address of the
            store holds a password.
    """
    definition = working_dir / RUNTIME_ENV
    if not definition.is_file():
        raise EADError(f"--working-dir {working_dir} is no checkout of this repository: it has no {RUNTIME_ENV}.")
    environment = read_mapping(definition, "a Ray runtime environment")
    passed_on = _tracking_store()
    if commit := revision(working_dir / "ead_core"):
        passed_on[VARIABLE] = commit
    return {
        **environment,
        "env_vars": {**(environment.get("env_vars") or {}), **passed_on},
        "working_dir": str(working_dir.absolute()),
    }


def _tracking_store() -> dict[str, str]:
    """The variable that names it, if it is set."""
    address = os.environ.get(STORE)
    if address and hide_credentials(address) != address:
        raise EADError(
            f"{STORE} holds a password, and everybody who sees the cluster's jobs sees their environment; leave it out "
            "and give it to the nodes, as PGPASSWORD (PostgreSQL) or MLFLOW_TRACKING_PASSWORD (a server of MLflow's)."
        )
    return {} if address is None else {STORE: address}


def _enter(client: JobSubmissionClient, entrypoint: str, environment: dict[str, Any]) -> str:
    """The id of the started job; for its first seconds a new cluster answers, but has nobody to run anything."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return client.submit_job(entrypoint=entrypoint, runtime_env=environment)
        except RuntimeError as error:  # after 10 seconds of Ray's own waiting
            if NOBODY_YET not in str(error) or time.monotonic() > deadline:
                raise


def follow(job: Job) -> str | None:
    """Print the job's log until it ends; None if it succeeded, else a sentence on how it ended.

    Raises:
        EADError: the connection broke; the job itself goes on.
    """
    try:
        asyncio.run(_print_log(job))
        details = job.client.get_job_info(job.id)
    except CLIENT_ERRORS as error:
        raise EADError(_lost(job, one_line(error))) from error
    if not details.status.is_terminal():
        raise EADError(_lost(job, f"the job is {details.status.value}"))
    if details.status == JobStatus.SUCCEEDED:
        return None
    if details.status == JobStatus.STOPPED:
        return f"job {job.id} was stopped."
    if details.driver_exit_code is not None:
        return f"job {job.id} failed: its command ended with exit code {details.driver_exit_code}."
    return f"job {job.id} failed before its command ran: {_reason(details.message or '')}"


async def _print_log(job: Job) -> None:
    async for lines in job.client.tail_job_logs(job.id):
        print(lines, end="", flush=True)


def _lost(job: Job, reason: str) -> str:
    return f"the log of job {job.id} broke off ({reason}); follow it again with: {job.ray_command('logs --follow')}"


def _reason(message: str) -> str:
    """What a traceback of Ray's means: its last line, or what is known to be behind that."""
    if "Failed to download runtime_env file package" in message:
        return f"a file changed while it was packed; submit again, and name it in {RUNTIME_ENV} if it keeps changing."
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "the cluster gives no reason."


def _introduce(address: str) -> dict[str, str]:
    """The headers with which the cluster talks to us, found by asking it for its version.

    Raises:
        EADError: a malformed address, nobody there, something other than Ray, or a token missing or wrong.
    """
    _check_address(address)
    token = stored_token()
    # With an empty header Ray's client does not insist on a token just because RAY_AUTH_MODE asks for one.
    headers = {"Authorization": f"Bearer {token}" if token else ""}
    try:
        with urlopen(Request(f"{address}/api/version", headers=headers), timeout=ANSWER_SECONDS) as answer:
            if b"ray_version" in answer.read():
                return headers
    except HTTPError as error:
        if error.code in (401, 403):
            raise EADError(token_refused(address, token)) from error
    except OSError as error:
        reason = one_line(getattr(error, "reason", error))
        raise EADError(f"no Ray cluster answers at {address} ({reason}); start one, or give its --address.") from error
    except HTTPException:
        pass  # not HTTP: the port of Ray's own protocol, for example
    raise EADError(f"what answers at {address} is no Ray dashboard; its port is 8265 unless it was started otherwise.")


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise EADError(f"--address {address} must look like http://127.0.0.1:8265, where the cluster's dashboard is.")


def _refusal(working_dir: Path, error: Exception) -> str:
    if "status code 413" in str(error):
        return f"the package of {working_dir} is too large; name what the job does not need in {RUNTIME_ENV}."
    if NOBODY_YET in str(error):
        return (
            f"the cluster answers but had nobody to run jobs for {START_SECONDS} seconds; if another Ray ran on its "
            "machine when it started, start it again with another --dashboard-agent-listen-port."
        )
    return f"the cluster did not take the job: {one_line(error)}."
