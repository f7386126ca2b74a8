"""The cluster definitions, as far as they can be checked without a cloud."""

import copy
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from ead_platform.cluster.submission import RUNTIME_ENV
from jsonschema import ValidationError
from mlflow.cli import server as mlflow_server
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "platform" / "clusters"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
NEEDED_TO_INSTALL = {
    "pyproject.toml",
    "constraints.txt",
    PROJECT["project"]["readme"],
    *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
}

# From the reference of KubeRay 1.7, whose definitions refuse other names.
KUBERAY_FIELDS = {
    "spec": {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
    | {"workerGroupSpecs"},
    "authOptions": {"mode", "secretName", "enableK8sTokenAuth"},
    "autoscalerOptions": {"idleTimeoutSeconds", "upscalingMode", "version", "resources"},
    "headGroupSpec": {"rayStartParams", "template", "serviceType", "resources", "labels"},
    "workerGroupSpecs": {"groupName", "minReplicas", "maxReplicas", "replicas", "rayStartParams", "template"},
}


@pytest.fixture
def aws():
    return yaml.safe_load((CLUSTERS / "aws.yaml").read_text())


@pytest.fixture(scope="module")
def kubernetes():
    return {document["kind"]: document for document in yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text())}


@pytest.fixture(scope="module")
def dockerfile():
    return (CLUSTERS / "Dockerfile").read_text()


def pods(kubernetes):
    spec = kubernetes["RayCluster"]["spec"]
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def test_rays_launcher_accepts_the_aws_definition(aws):
    prepared = prepare_config(copy.deepcopy(aws))
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]
    aws["available_node_types"]["cpu_worker"]["min_worker"] = 1
    with pytest.raises(ValidationError, match="min_worker"):
        validate_config(prepare_config(aws))


def test_aws_nodes_get_everything_that_the_installation_needs(aws):
    ours = {here: there for there, here in aws["file_mounts"].items() if not here.startswith("~")}
    assert set(ours) >= NEEDED_TO_INSTALL
    for here, there in ours.items():
        assert (ROOT / here).exists()
        assert there == f"~/ead/{here}"
    installs = [command for command in aws["setup_commands"] if "install" in command and "ead[platform]" in command]
    gpu = aws["available_node_types"]["gpu_worker"]["worker_setup_commands"]
    installs += [command for command in gpu if "ead[platform]" in command]
    assert len(installs) == 2
    assert all("--constraint ~/ead/constraints.txt" in command for command in installs)
    assert "whl/cpu" in installs[0]
    assert "whl/cpu" not in installs[1]
    assert set(gpu[:-1]) <= set(aws["setup_commands"])


def test_aws_clusters_demand_a_token_and_cost_nothing_when_idle(aws):
    assert aws["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for commands in (aws["head_start_ray_commands"], aws["worker_start_ray_commands"]):
        start = commands[-1]
        assert re.search(r"export PATH=\S+venv/bin\S+ RAY_AUTH_MODE=token; ray start ", start)
    assert "--dashboard-host=127.0.0.1" in aws["head_start_ray_commands"][-1]
    workers = [kind for name, kind in aws["available_node_types"].items() if name != aws["head_node_type"]]
    assert all(kind["min_workers"] == 0 for kind in workers)


def test_kuberay_knows_every_field(kubernetes):
    assert kubernetes["RayCluster"]["apiVersion"] == "ray.io/v1"
    spec = kubernetes["RayCluster"]["spec"]
    assert set(spec) <= KUBERAY_FIELDS["spec"]
    for name in ("authOptions", "autoscalerOptions", "headGroupSpec"):
        assert set(spec[name]) <= KUBERAY_FIELDS[name]
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= KUBERAY_FIELDS["workerGroupSpecs"]
        assert 0 == group["minReplicas"] < group["maxReplicas"]


def test_kubernetes_pods_are_consistent(kubernetes):
    claim = kubernetes["PersistentVolumeClaim"]["metadata"]["name"]
    for pod in pods(kubernetes):
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]} == {claim}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        gpu = "nvidia.com/gpu" in container["resources"]["limits"]
        assert container["image"].endswith("-gpu") == gpu


def test_kubernetes_clusters_demand_the_token_that_the_commands_create(kubernetes):
    options = kubernetes["RayCluster"]["spec"]["authOptions"]
    assert options["mode"] == "token"
    command = f"kubectl create secret generic {options['secretName']} --from-file=auth_token=$HOME/.ray/auth_token"
    assert command in (CLUSTERS / "README.md").read_text()
    assert command in (CLUSTERS / "kuberay.yaml").read_text()


def test_versions_are_those_of_the_constraints(kubernetes, dockerfile):
    assert kubernetes["RayCluster"]["spec"]["rayVersion"] == PINNED["ray"]
    images = re.findall(r"rayproject/ray:(\S+)", dockerfile)
    assert len(images) == 2
    for image in images:
        ray, python, _ = image.split("-")
        assert ray == PINNED["ray"]
        assert python == "py" + PROJECT["project"]["requires-python"].removeprefix(">=").replace(".", "")
    tags = [container["image"].rpartition(":")[2] for pod in pods(kubernetes) for container in pod["containers"]]
    tags += re.findall(r"REGISTRY/ead:(\S+)", dockerfile + (CLUSTERS / "README.md").read_text())
    assert {tag.removesuffix("-gpu") for tag in tags} == {PROJECT["project"]["version"]}


def test_the_image_gets_everything_that_the_installation_needs(dockerfile):
    copied = [line.split()[2:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    files = {source: source if target == "./" else target for *sources, target in copied for source in sources}
    assert set(files) >= NEEDED_TO_INSTALL
    assert all((ROOT / source).exists() and source == target for source, target in files.items())
    assert re.search(r"^RUN pip install .*--constraint constraints\.txt .*'\.\[platform\]'$", dockerfile, re.M)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((CLUSTERS / "compose.yaml").read_text())


def test_the_tracking_server_waits_for_what_it_needs(compose):
    services = compose["services"]
    for name, service in services.items():
        assert ("image" in service) != ("build" in service)
        for needed, how in service.get("depends_on", {}).items():
            waits = how["condition"] == "service_healthy"
            assert waits == ("healthcheck" in services[needed]), (name, needed)
    assert {needed for each in services.values() for needed in each.get("depends_on", ())} == services.keys() - {
        "mlflow"
    }
    mounted = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert mounted == set(compose["volumes"])


def test_the_tracking_server_is_for_this_machine_only_and_its_passwords_are_yours(compose):
    services, example = compose["services"], (CLUSTERS / "compose.env.example").read_text()
    assert [name for name, service in services.items() if "ports" in service] == ["mlflow"]
    assert services["mlflow"]["ports"] == ["${MLFLOW_BIND:-127.0.0.1}:5000:5000"]
    secrets = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASSWORD|SECRET", name)
    ]
    assert len(secrets) == 5
    for secret in secrets:
        assert re.fullmatch(r"\$\{(\w+):\?.+\}", secret)  # a missing one is an error, none is written down
        assert f"{secret[2:].partition(':')[0]}=\n" in example


def test_the_tracking_server_is_the_mlflow_that_is_tested(compose):
    build = compose["services"]["mlflow"]["build"]["dockerfile_inline"]
    assert f"ghcr.io/mlflow/mlflow:v{PINNED['mlflow']}\n" in build
    assert f"'psycopg[binary]=={PINNED['psycopg']}'" in build
    known = {option for parameter in mlflow_server.params for option in parameter.opts}
    program, verb, *options = compose["services"]["mlflow"]["command"]
    assert (program, verb) == ("mlflow", mlflow_server.name)
    assert {option.partition("=")[0] for option in options} <= known


@pytest.mark.parametrize(
    "name", ["README.md", "aws.yaml", "kuberay.yaml", "compose.yaml", "Dockerfile", "runtime_env.yaml"]
)
def test_every_file_that_a_definition_names_exists(name):
    text = (CLUSTERS / name).read_text()
    named = set(re.findall(r"\b(?:platform|ead_core|tune|configs)/[\w/.-]*\w", text))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert [link for link in linked if not (CLUSTERS / link).exists()] == []


@pytest.fixture
def packed(tmp_path):
    """Names in the package that Ray would make of a folder."""

    def pack(folder):
        excludes = yaml.safe_load((ROOT / RUNTIME_ENV).read_text())["excludes"]
        create_package(str(folder), tmp_path / "package.zip", include_gitignore=False, excludes=excludes)
        with zipfile.ZipFile(tmp_path / "package.zip") as package:
            return {entry.filename: entry.file_size for entry in package.infolist() if not entry.is_dir()}

    return pack


def test_a_job_takes_all_code_along_and_little_else(packed):
    files = packed(ROOT)
    kinds = {".py", ".yaml", ".json", ".safetensors"}
    code = {
        str(path.relative_to(ROOT))
        for folder in ("ead_core", "platform", "tune", "configs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds
    }
    assert len(code) > 50
    assert code <= set(files)
    assert sum(files.values()) < 25e6  # of which the bundled models take 18; Ray takes 100 MiB


@pytest.mark.parametrize(
    "name",
    [
        ".git/HEAD",
        ".venv/lib/site.py",
        ".env",
        "platform/clusters/.env",
        ".mypy_cache/x.json",
        "runs/mine/model.safetensors",
        "mlruns/0/meta.yaml",
        "mlflow.db",
        "mlflow.db-wal",
        "notes/any.txt",
        "qm9.npz",
        "dsgdb9nsd.xyz.tar.bz2",
        "molecules.sdf.gz",
        "train.log",
        "ead_core/metrics.jsonl",
        "platform/ead_platform/__pycache__/x.pyc",
    ],
)
def test_a_job_leaves_at_home_what_is_huge_secret_or_changes(packed, tmp_path, name):
    checkout = tmp_path / "checkout"
    for file in (name, "my_job.py", "ead_core/data/demo.py", "platform/jobs/submit.py"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).write_text("x")
    assert set(packed(checkout)) == {"my_job.py", "ead_core/data/demo.py", "platform/jobs/submit.py"}
