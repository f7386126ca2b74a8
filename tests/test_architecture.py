"""The house stands as designed: one direction of imports, and Python's own `platform` stays Python's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLATFORM_LIBRARIES = {"ray", "mlflow", "optuna", "fastapi", "ead_platform"}
CORE_FILES = sorted((ROOT / "ead_core").rglob("*.py"))


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name.split(".")[0] for name in names)


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_does_not_know_the_platform(path):
    assert not set(imported_packages(path)) & PLATFORM_LIBRARIES


def test_importing_everything_in_the_core_loads_no_platform_library():
    modules = [str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in CORE_FILES]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in loaded.stdout.split()} & PLATFORM_LIBRARIES


def test_platform_is_pythons_own_from_the_root():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version(), platform.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, file = result.stdout.split()
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert not file.startswith(str(ROOT))


def test_importing_the_package_has_no_side_effects(tmp_path):
    code = "import ead_core, torch; print(torch.get_float32_matmul_precision())"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "highest"
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_what_measures_and_the_command_line_start_without_torch():
    modules = "ead_core.cli.main, ead_core.evaluation.evaluate, ead_core.evaluation.published"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_processes_that_measure_start_without_the_libraries_of_tables():
    code = "import sys, ead_core.evaluation.measure; print({'pandas', 'pyarrow', 'fcd'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_public_surface_is_what_it_says():
    import ead_core

    assert all(hasattr(ead_core, name) for name in ead_core.__all__)
    assert len(ead_core.__all__) <= 28
    assert set(ead_core.__all__) <= set(dir(ead_core))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ead_core.nothing  # noqa: B018
