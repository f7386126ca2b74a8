"""The jobs of a service in a database: SQLite in the folder of the jobs, or PostgreSQL.

The table is the queue as well. What is asked is written once, a worker takes it with one conditional update, and every
later change is conditional on what it changes. So no process has to be told anything, and a job is lost only with its
database. A worker that does not renew its claim is taken to be dead, and another takes up its jobs.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ead_platform.cluster.credentials import hide_credentials
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    create_engine,
    event,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ead_core.errors import EADError
from serve.jobs_address import database_address

State = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "running")
LEASE = 15.0  # seconds without a sign of life after which a worker is taken to be dead

_TABLE = Table(
    "ead_jobs_1",  # the number is the version of the columns
    MetaData(),
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("key", String(255), unique=True),
    Column("request", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(9), nullable=False, index=True),
    Column("created", Float(53), nullable=False),
    Column("started", Float(53)),
    Column("ended", Float(53)),
    Column("progress", Text, nullable=False, default=""),
    Column("problem", Text),
    Column("worker", String(32)),
    Column("beat", Float(53)),
    Column("taken", Integer, nullable=False, default=0),
)
_JOB = _TABLE.c


class StoreError(EADError):
    """The database of jobs does not answer, or not in time."""


@dataclass(frozen=True)
class Job:
    """A job as it is stored.

    Attributes:
        number: counts jobs in the order in which they came.
        id: its name.
        key: of the client's, under which it asks for a job only once; None if there is none.
        request: the body that asked for it, as JSON.
        terms: settings of the service that it was accepted with, as JSON; so another service can go on with it.
        fingerprint: of the model.
        state: where it stands.
        created, started, ended: seconds since 1970.
        progress: what is finished, as JSON; '' before anything is.
        problem: why it failed.
        worker: who is at it, or was last.
        beat: when the worker last said so.
        taken: how often it was taken up since something of it was finished.
    """

    number: int
    id: str
    key: str | None
    request: str
    terms: str
    fingerprint: str
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    progress: str = ""
    problem: str | None = None
    worker: str | None = None
    beat: float | None = None
    taken: int = 0


class JobStore:
    """The database of jobs, for any number of processes.

    Args:
        address: as SQLAlchemy writes it; a database without the table gets it.

    Raises:
        StoreError: it does not answer, as from every method.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        with self._answering():
            self._engine: Engine = create_engine(address, **_options(address))
            if _is_sqlite(address):
                event.listen(self._engine, "connect", _prepare_sqlite)
            self._make_table()

    def _make_table(self) -> None:
        try:
            _TABLE.metadata.create_all(self._engine)
        except SQLAlchemyError:  # another process makes it just now
            _TABLE.metadata.create_all(self._engine)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Around what asks the database: its failures in one sentence."""
        try:
            yield
        except SQLAlchemyError as error:
            raise StoreError(f"the database of jobs, {hide_credentials(self._address)}, does not answer.") from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._answering(), self._engine.begin() as connection:
            yield connection

    def add(self, request: str, terms: str, fingerprint: str, key: str | None = None) -> Job:
        """Write a new job; one that has the same key is returned instead, whatever it asks for."""
        new = {"id": uuid.uuid4().hex, "key": key, "request": request, "terms": terms, "fingerprint": fingerprint}
        # A key may be taken by a request that comes at the same moment, so that only the database can tell.
        with self._answering(), suppress(IntegrityError), self._engine.begin() as connection:
            connection.execute(insert(_TABLE).values(**new, state="queued", created=time.time()))
        found = self._one(_JOB.id == new["id"]) or self._one(_JOB.key == key)
        assert found is not None  # rows are never removed
        return found

    def get(self, job: str) -> Job | None:
        """The job with an id; None if there is none."""
        return self._one(_JOB.id == job)

    def with_key(self, key: str) -> Job | None:
        """The job that a client asked for with this key; None if there is none."""
        return self._one(_JOB.key == key)

    def newest(self, limit: int, before: int | None = None) -> list[Job]:
        """The last jobs, newest first, of those whose number is smaller than `before`."""
        query = select(_TABLE).order_by(_JOB.number.desc()).limit(limit)
        with self._transaction() as connection:
            rows = connection.execute(query if before is None else query.where(_JOB.number < before))
            return [_job(row) for row in rows.mappings()]

    def waiting(self) -> int:
        """How many jobs nobody has begun."""
        with self._transaction() as connection:
            query = select(func.count()).select_from(_TABLE).where(_JOB.state == "queued")
            return int(connection.execute(query).scalar_one())

    def cancel(self, job: str) -> None:
        """End a job that has not ended; its worker notices with its next sign of life."""
        self._change(_JOB.id == job, _JOB.state.in_(OPEN), state="cancelled", ended=time.time())

    def take(self, worker: str) -> Job | None:
        """The oldest job that is waiting, or whose worker is dead; it now is this worker's. None if there is none."""
        now = time.time()
        abandoned = and_(_JOB.state == "running", _JOB.beat < now - LEASE)
        query = select(_TABLE).where(or_(_JOB.state == "queued", abandoned)).order_by(_JOB.number).limit(1)
        with self._transaction() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        as_seen = (_JOB.id == row["id"], _JOB.state == row["state"], _JOB.taken == row["taken"])
        mine = {"state": "running", "worker": worker, "beat": now, "started": row["started"] or now}
        won = self._change(*as_seen, **mine, taken=row["taken"] + 1)
        return self.get(row["id"]) if won else None

    def renew(self, job: str, worker: str) -> bool:
        """Say that the worker is alive; False if the job is not its own any more, so that it has to stop."""
        return self._change(*_own(job, worker), beat=time.time())

    def report(self, job: str, worker: str, progress: str) -> bool:
        """Write what is finished; else as `renew`."""
        return self._change(*_own(job, worker), progress=progress, beat=time.time(), taken=0)

    def end(self, job: str, worker: str, progress: str, problem: str | None = None) -> bool:
        """A job is done, or has failed for a reason; else as `renew`."""
        ended = {"state": "failed" if problem else "done", "problem": problem, "ended": time.time()}
        return self._change(*_own(job, worker), **ended, progress=progress)

    def give_back(self, worker: str) -> None:
        """Let others go on with the jobs of a worker that ends; they do not count as tried in vain."""
        own = (_JOB.worker == worker, _JOB.state == "running")
        self._change(*own, state="queued", taken=0)

    def _one(self, condition: Any) -> Job | None:
        with self._transaction() as connection:
            row = connection.execute(select(_TABLE).where(condition)).mappings().one_or_none()
        return _job(row) if row else None

    def _change(self, *conditions: Any, **values: Any) -> bool:
        """Update the rows that meet the conditions; whether there were any."""
        with self._transaction() as connection:
            return connection.execute(update(_TABLE).where(*conditions).values(**values)).rowcount > 0


def open_store(folder: str, address: str) -> JobStore:
    """The database at an address of PostgreSQL, or in the folder if it is '' (see `database_address`).

    Raises:
        ConfigError: an address that cannot be used.
        StoreError: the database does not answer, or its folder cannot be written.
    """
    full = database_address(folder, address)
    if _is_sqlite(full):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"jobs_folder={folder} cannot be made ({error.strerror}).") from error
    return JobStore(full)


def _own(job: str, worker: str) -> tuple[Any, ...]:
    return _JOB.id == job, _JOB.worker == worker, _JOB.state == "running"


def _job(row: RowMapping) -> Job:
    return Job(**row)


def _is_sqlite(address: str) -> bool:
    return address.startswith("sqlite")


def _options(address: str) -> Mapping[str, Any]:
    if _is_sqlite(address):
        return {"connect_args": {"timeout": 30}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}  # a restarted server is found again


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Readers do not wait for writers, and what is accepted outlives a power failure."""
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
