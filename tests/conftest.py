"""What every test stands on: no network, an environment without the developer's settings, a fixed seed, a data folder.

Tests must not depend on who runs them: a developer's kubeconfig, provider keys, proxies and home folder are out of
sight, so that no test can talk to a real cluster or spend money. A test that reaches for a foreign host fails, even
where the code under test swallows the error; one that means to carries the marker `refused_network`.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.offline import sitecustomize as network_guard

DEFAULT_SEED = 20261120

pytest_plugins = ("tests.support.database",)

# By prefix: settings of this project, of its libraries, of clusters, databases and model providers.
FOREIGN_PREFIXES = (
    "KUBECHAT_",
    "KUBERNETES_",
    "CHAINLIT_",
    "LITELLM_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "LANGGRAPH_",
    "LANGFUSE_",
    "OTEL_",
    "HF_",
    "PG",
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GEMINI_",
    "VERTEX",
    "OPENAI_",
    "ANTHROPIC_",
    "OLLAMA_",
    "XDG_",
)
FOREIGN_SUFFIXES = ("_API_KEY", "_API_BASE", "_API_TOKEN", "_ACCESS_TOKEN", "_PROXY")
FOREIGN_NAMES = (
    "KUBECONFIG",
    "HOST",
    "PORT",
    "DATABASE_URL",
    "REDIS_URL",
    "HF_TOKEN",
    "NO_COLOR",
    "FORCE_COLOR",
    "DEBUG",
)


def is_foreign(variable: str) -> bool:
    """Whether an environment variable could change what a test does on this developer's machine."""
    name = variable.upper()
    return name.startswith(FOREIGN_PREFIXES) or name.endswith(FOREIGN_SUFFIXES) or name in FOREIGN_NAMES


def seed() -> int:
    """The seed of this run: TEST_SEED, or the same one every time."""
    return int(os.environ.get("TEST_SEED", DEFAULT_SEED))


def short_temporary_folder(prefix: str) -> Path:
    """A new folder with a short path: a unix socket's may have about 100 bytes, which macOS' own folder uses up."""
    parent = "/tmp" if Path("/tmp").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    # As root the embedded database runs as another user, which has to get through.
    folder.chmod(0o755)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    for variable in [name for name in os.environ if is_foreign(name)]:
        del os.environ[variable]
    home = short_temporary_folder("kubechat-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["HOME"] = str(home)
    # Without it platformdirs, below the embedded database, warns; and its lock files stay among the tests this way.
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    # Processes started by tests import the guard from here.
    os.environ["PYTHONPATH"] = str(Path(network_guard.__file__).parent)
    # Derandomized: a failure in CI is the same failure on a desk. No deadline: two shared cores are no stopwatch.
    hypothesis.settings.register_profile("house", derandomize=True, deadline=None, database=None)
    hypothesis.settings.load_profile("house")


def pytest_report_header() -> str:
    return f"kubechat: network refused, TEST_SEED={seed()}"


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    random.seed(seed())


@pytest.fixture(autouse=True)
def _no_foreign_host(request: pytest.FixtureRequest) -> Iterator[None]:
    network_guard.refused.clear()
    yield
    if network_guard.refused and not request.node.get_closest_marker("refused_network"):
        hosts = ", ".join(sorted(set(network_guard.refused)))
        pytest.fail(f"reached for a host outside this machine: {hosts}", pytrace=False)


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A KubeChat data folder of this test session, empty at its start and removed at its end."""
    folder = short_temporary_folder("kubechat-data-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
