"""The house stands as designed: one direction of imports, and Python's own `platform` stays Python's."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("ead_core", "platform", "serve", "tune", "benchmarks", "docs")
PLATFORM_LIBRARIES = {"ray", "mlflow", "optuna", "fastapi", "ead_platform"}
CORE_FILES = sorted((ROOT / "ead_core").rglob("*.py"))
PLATFORM_FILES = sorted((ROOT / "platform" / "ead_platform").rglob("*.py"))
CORE_ORDER = (  # each room knows those before it, and no other (decision 19)
    *(
        "moved",
        "notes",
        "errors",
        "common",
        "config",
        "chemistry",
        "data",
        "pictures",
        "evaluation",
        "networks",
        "diffusion",
    ),
    *("checkpoints", "prediction", "sampling", "traces", "training", "judge", "cli", "api"),
)
PLATFORM_ORDER = ("cluster", "tracking", "generation", "registry", "training", "sweep")


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name.split(".")[0] for name in names)


def imported_modules(path):
    """All that a file imports, wherever it does so: lazy imports count."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(parts):
    """The folder of a package that a module is in, or its own name if it is in none."""
    return parts[1].removesuffix(".py") if len(parts) > 1 else ""


@pytest.mark.parametrize(
    ("files", "order"),
    [(CORE_FILES, CORE_ORDER), (PLATFORM_FILES, PLATFORM_ORDER)],
    ids=["ead_core", "ead_platform"],
)
def test_every_room_knows_only_those_before_it(files, order):
    package = "ead_core" if order is CORE_ORDER else "ead_platform"
    upward = []
    for path in files:
        own = room(path.parts[path.parts.index(package) :])
        if own == "__init__":
            continue
        assert own in order, f"{path} is in no room of the plan"
        for name in imported_modules(path):
            other = room(name.split(".")) if name.startswith(f"{package}.") else ""
            if other in order and order.index(other) > order.index(own):
                upward.append(f"{path.relative_to(ROOT)} knows {name}")
    assert not upward


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_does_not_know_the_platform(path):
    assert not set(imported_packages(path)) & PLATFORM_LIBRARIES


def test_importing_everything_in_the_core_loads_no_platform_library_and_has_no_side_effects(tmp_path):
    modules = [str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in CORE_FILES]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "import torch\nprint(torch.get_float32_matmul_precision(), *sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    precision, *loaded = done.stdout.split()
    assert not {name.split(".")[0] for name in loaded} & PLATFORM_LIBRARIES
    assert (precision, done.stderr, list(tmp_path.iterdir())) == ("highest", "", [])


def private_names_of_ray(path):
    names = {*imported_modules(path)}
    names |= {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    return {name for name in names if name.startswith("ray.") and any(part[0] == "_" for part in name.split("."))}


def test_one_private_name_of_ray_is_used():
    """It keeps a private cluster off the network; the function that has it says why there is no other way."""
    product = (path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))
    used = {str(path.relative_to(ROOT)): names for path in product if (names := private_names_of_ray(path))}
    assert used == {"platform/ead_platform/cluster/session.py": {"ray._private.ray_constants"}}


def test_platform_is_pythons_own_from_the_root():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version(), platform.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, file = result.stdout.split()
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert not file.startswith(str(ROOT))


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
    with pytest.raises(AttributeError, match=r"PublishedCard is now ead_core\.Card$"):
        ead_core.PublishedCard  # noqa: B018
    for name in ead_core.RENAMED:
        with pytest.raises(AttributeError, match=f"^ead_core.{name} is now ead_core."):
            getattr(ead_core, name)
