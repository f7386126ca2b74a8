"""Load of the machine that started a training, beside its other figures in MLflow."""

import warnings
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from ead_core.errors import one_line


class HostMetrics:
    """CPU, memory, disk, network and, with `nvidia-ml-py`, GPUs of the driver's host; MLflow's monitor measures them.

    The workers of a cluster may run elsewhere: this measures nothing of their machines. The monitor is a thread of the
    driver, which only waits, so it takes nothing from the workers. MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL sets the
    seconds between two measurements (10).
    """

    def __init__(self) -> None:
        self._monitor: Any = None

    def start(self, run_id: str, tracking_uri: str) -> None:
        """Measure until `stop`, or until the run is no longer RUNNING; a continued run counts on."""
        try:
            monitor: Any = SystemMetricsMonitor  # which has no types
            self._monitor = monitor(run_id, resume_logging=True, tracking_uri=tracking_uri)
            self._monitor.start()
        except Exception as error:  # what psutil raises depends on the system, and no training may fail for it
            warnings.warn(f"there will be no system metrics ({one_line(error)}).", stacklevel=2)

    def stop(self) -> None:
        """End the thread and write what it has measured."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
