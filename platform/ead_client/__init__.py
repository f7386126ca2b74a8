"""Ask a service of EAD for molecules from Python: needs httpx, and neither torch nor Ray."""

from ead_client.answers import Molecule, Molecules
from ead_client.async_client import AsyncClient, AsyncJob
from ead_client.client import Client, Job
from ead_client.errors import ClientError, RefusedError, ServiceError, UnreachableError

__all__ = [
    "Client",
    "Job",
    "AsyncClient",
    "AsyncJob",
    "Molecule",
    "Molecules",
    "ClientError",
    "RefusedError",
    "ServiceError",
    "UnreachableError",
]
