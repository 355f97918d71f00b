"""The search for a Python that `make run` begins with: what it takes, and what it says when a piece is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIND_PYTHON = Path(__file__).resolve().parents[2] / ".ci" / "find-python"


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH of its own, with a Linux uname and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    install(folder, "uname", "echo Linux")
    return folder


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def install_python(folder: Path, name: str, verdict: int) -> None:
    """A Python that answers the search's question with this exit status, and its version like 3.12."""
    install(folder, name, f'case "$3" in *ensurepip*) exit {verdict} ;; *) echo 3.12 ;; esac')


def find(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh") or "/bin/sh"
    return subprocess.run(
        [shell, str(FIND_PYTHON)],
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_fitting_python_is_found(bin_folder: Path) -> None:
    (bin_folder / "python3").symlink_to(sys.executable)
    found = find(bin_folder)
    assert found.returncode == 0
    assert Path(found.stdout.strip()).name.startswith("python")
    assert found.stderr == ""


def test_an_unfit_python3_does_not_hide_a_fit_one(bin_folder: Path) -> None:
    install_python(bin_folder, "python3", verdict=4)
    (bin_folder / "python3.12").symlink_to(sys.executable)
    assert find(bin_folder).returncode == 0


def test_the_given_python_is_the_only_one_tried(bin_folder: Path) -> None:
    (bin_folder / "python3").symlink_to(sys.executable)
    found = find(bin_folder, PYTHON=str(bin_folder / "no such"))
    assert found.returncode == 1
    assert f"PYTHON={bin_folder / 'no such'} does not run" in found.stderr


@pytest.mark.parametrize(
    ("verdict", "complaint", "remedy"),
    [
        (3, "python3 is older", "apt-get install python3.11-venv"),
        (4, "python3 is newer", "apt-get install python3.13-venv"),
        (5, "python3 lacks the modules venv and ensurepip", "apt-get install python3.12-venv"),
        (127, "none was found", "apt-get install python3 python3-venv"),
    ],
)
def test_what_is_missing_is_named_in_one_line_with_its_package(
    bin_folder: Path, verdict: int, complaint: str, remedy: str
) -> None:
    install_python(bin_folder, "python3", verdict)
    found = find(bin_folder)
    assert found.returncode == 1
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert complaint in found.stderr
    assert remedy in found.stderr


def test_on_macos_the_remedy_is_homebrew(bin_folder: Path) -> None:
    install(bin_folder, "uname", "echo Darwin")
    install_python(bin_folder, "python3", verdict=3)
    assert "brew install python@3.12" in find(bin_folder).stderr


def test_the_search_is_executable() -> None:
    assert os.access(FIND_PYTHON, os.X_OK)
