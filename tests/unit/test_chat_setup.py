"""What Chainlit finds when it is imported: its own folder, nothing of the user's, and the risky parts switched off."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from ui.chat.setup import prepare


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported Chainlit yet."""
    monkeypatch.delitem(sys.modules, "chainlit", raising=False)


@pytest.mark.usefixtures("fresh")
def test_no_integration_starts_because_a_variable_happened_to_be_set(tmp_path: Path) -> None:
    environment = {
        "SLACK_BOT_TOKEN": "x",
        "SLACK_SIGNING_SECRET": "x",
        "OAUTH_GITHUB_CLIENT_ID": "x",
        "LITERAL_API_KEY": "x",
        "DATABASE_URL": "postgres://elsewhere",
        "CHAINLIT_CUSTOM_AUTH": "1",
        "PATH": "/usr/bin",
    }
    root = prepare(tmp_path, None, environment)
    assert set(environment) == {"PATH", "CHAINLIT_APP_ROOT", "CHAINLIT_AUTH_SECRET", "PYTHON_DOTENV_DISABLED"}
    assert environment["CHAINLIT_APP_ROOT"] == str(root)
    assert len(environment["CHAINLIT_AUTH_SECRET"]) > 40


def test_the_risky_parts_are_off_and_the_words_are_ours(tmp_path: Path) -> None:
    about = tmp_path / "about.md"
    about.write_text("# About")
    root = prepare(tmp_path / "data", about, {})
    config = tomllib.loads((root / ".chainlit" / "config.toml").read_text())
    assert config["features"]["spontaneous_file_upload"]["enabled"] is False
    assert config["features"]["mcp"]["enabled"] is False
    assert config["features"]["unsafe_allow_html"] is False
    assert config["project"]["allow_origins"] == []
    assert config["UI"]["name"] == "KubeChat"
    words = json.loads((root / ".chainlit" / "translations" / "en-US.json").read_text())
    assert "LLM" not in words["chat"]["watermark"]
    assert (root / "chainlit_en-US.md").read_text() == "# About"


def test_each_start_signs_with_another_secret(tmp_path: Path) -> None:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    prepare(tmp_path, None, first)
    prepare(tmp_path, None, second)
    assert first["CHAINLIT_AUTH_SECRET"] != second["CHAINLIT_AUTH_SECRET"]
