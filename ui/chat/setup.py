"""Prepares Chainlit before it is imported: it reads its environment and writes its folders at import.

Promise: nothing of Chainlit lands in the working folder, no `.env` is read, none of its integrations (Slack, Teams,
OAuth, tracing) starts because a variable happened to be set, and what is risky is switched off.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path

from assistant.errors import StorageUnavailable

NAME = "KubeChat"
DESCRIPTION = "A Kubernetes engineer in a chat window."
SECRET_BYTES = 48

# Variables by which Chainlit would start an integration, take another data layer or another sign-in.
_FOREIGN = ("CHAINLIT_", "SLACK_", "TEAMS_", "DISCORD_", "OAUTH_", "LITERAL_", "TRACELOOP_")
_FOREIGN_NAMES = ("DATABASE_URL", "BUCKET_NAME")

_CONFIG = f"""[project]
user_env = []
session_timeout = 3600
user_session_timeout = 1296000
cache = false
persist_user_env = false
allow_origins = []

[features]
unsafe_allow_html = false
latex = false
user_message_markdown = false
user_message_autoscroll = true
assistant_message_autoscroll = true
auto_tag_thread = false
edit_message = false
allow_thread_sharing = false
favorites = false

[features.spontaneous_file_upload]
enabled = false
accept = {{ "text/plain" = [".txt"] }}

[features.audio]
enabled = false

[features.mcp]
enabled = false

[UI]
name = "{NAME}"
description = "{DESCRIPTION}"
language = "en-US"
default_theme = "light"
default_sidebar_state = "open"
confirm_new_chat = false
cot = "full"
custom_css = "/public/kubechat.css"
custom_js = "/public/kubechat.js"

[meta]
generated_by = "2.12.0"
"""

# What Chainlit says by default and does not fit here: (path in its translation, our words).
_WORDS: tuple[tuple[str, str], ...] = (
    ("common.status.error.serverConnection", "KubeChat cannot be reached. It reconnects by itself."),
    ("chat.input.placeholder", "Ask about this cluster …"),
    ("chat.input.actions.send", "Ask"),
    ("chat.input.actions.stop", "Stop"),
    ("chat.watermark", "Every statement points at evidence. Open the marks and check before you change anything."),
    ("threadHistory.sidebar.title", "Conversations"),
    ("threadHistory.sidebar.empty", "No conversations yet"),
    ("threadHistory.thread.untitled", "Untitled conversation"),
    ("threadHistory.thread.actions.delete.title", "Delete this conversation?"),
    (
        "threadHistory.thread.actions.delete.description",
        "Its questions, answers and evidence are deleted for good.",
    ),
    ("threadHistory.thread.actions.delete.success", "Conversation deleted"),
    ("threadHistory.thread.actions.delete.inProgress", "Deleting the conversation"),
    ("threadHistory.thread.actions.rename.title", "Rename conversation"),
    ("threadHistory.thread.actions.rename.success", "Conversation renamed"),
    ("threadHistory.thread.actions.rename.inProgress", "Renaming the conversation"),
    ("navigation.header.readme", "About"),
    ("navigation.header.theme.light", "Light"),
    ("navigation.header.theme.dark", "Dark"),
    ("navigation.header.theme.system", "As the system"),
    ("navigation.newChat.button", "New conversation"),
    ("navigation.newChat.dialog.tooltip", "New conversation"),
)


def prepare(data_dir: Path, about: Path | None, environment: MutableMapping[str, str] = os.environ) -> Path:
    """Writes Chainlit's folder below the data folder and sets its environment; the folder.

    `about` is the Markdown page behind the header's button. Call it before Chainlit is imported. Raises
    StorageUnavailable where the folder cannot be written.
    """
    if "chainlit" not in sys.modules:
        for name in list(environment):
            if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES:
                del environment[name]
    root = data_dir / "chainlit"
    try:
        (root / ".chainlit" / "translations").mkdir(parents=True, exist_ok=True)
        _write(root / ".chainlit" / "config.toml", _CONFIG)
        _write(root / ".chainlit" / "translations" / "en-US.json", _translation())
        _write(root / "chainlit_en-US.md", about.read_text(encoding="utf-8") if about and about.is_file() else "")
    except OSError as error:
        raise StorageUnavailable(f"The data folder {data_dir} cannot be written.") from error
    environment["CHAINLIT_APP_ROOT"] = str(root)
    # signs the token that stands between our gate and Chainlit; no browser ever sees it, so it may be new each start
    environment["CHAINLIT_AUTH_SECRET"] = secrets.token_urlsafe(SECRET_BYTES)
    environment["PYTHON_DOTENV_DISABLED"] = "true"
    return root


def _translation() -> str:
    package = find_spec("chainlit")
    if package is None or package.origin is None:
        raise StorageUnavailable("Chainlit is not installed.")
    words = json.loads((Path(package.origin).parent / "translations" / "en-US.json").read_text(encoding="utf-8"))
    for path, text in _WORDS:
        *parents, last = path.split(".")
        group = words
        for parent in parents:
            group = group[parent]
        group[last] = text
    return json.dumps(words, indent=1, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    """Replaces a file at once, since another server of the same data folder may be reading it."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
