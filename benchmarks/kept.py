"""What several programs keep in files, so that an interrupted one goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ead_core.common.files import write_aside


def kept(path: Path, measure: Callable[[], Any]) -> Any:
    """The figures in a JSON file, which is measured and written if there is none."""
    if not path.is_file():
        with write_aside(path) as aside:
            aside.write_text(json.dumps(measure(), indent=1) + "\n")
    return json.loads(path.read_text())
