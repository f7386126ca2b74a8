"""Where the jobs of a service are kept: a folder for their molecules, and a database for the rest."""

from pathlib import Path

from ead_platform.cluster.credentials import hide_credentials
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ead_core.errors import ConfigError

FILE = "jobs.db"
POSTGRESQL = "postgresql+psycopg"


def database_address(folder: str, given: str) -> str:
    """The address of the database as SQLAlchemy takes it.

    Args:
        folder: of the jobs.
        given: an address of PostgreSQL; '' is a file of SQLite's in the folder.

    Raises:
        ConfigError: another kind of address, one with a password, or none where the folder is in an object store.
    """
    if not given:
        if "://" in folder:
            raise ConfigError(
                f"jobs_database must be an address such as postgresql://ead@host/ead where jobs_folder is {folder}, "
                "since no file of SQLite can lie there."
            )
        return f"sqlite:///{Path(folder, FILE)}"
    try:
        address = make_url(given)
    except ArgumentError as error:
        raise ConfigError("jobs_database must look like postgresql://ead@host/ead.") from error
    if address.drivername not in ("postgresql", POSTGRESQL):
        raise ConfigError(f"jobs_database must begin with postgresql://, not {address.drivername}://.")
    if hide_credentials(given) != given:
        raise ConfigError(
            "jobs_database holds a password, which everybody sees who sees the service's settings; leave it out and "
            "give it to the nodes as PGPASSWORD or in a file ~/.pgpass."
        )
    return address.set(drivername=POSTGRESQL).render_as_string(hide_password=False)
