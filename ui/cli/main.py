"""The `kubechat` command: a thin shell that finds the subcommand, and turns every failure into a sentence and an exit
code.

Exit codes: 0 answered, 1 `--fail-on` met, 2 bad input, 3 cluster unreachable, 4 internal, 130 and 143 after Ctrl-C and
SIGTERM. With `--json` only JSON goes to standard output, an error too. Subcommands are imported when they are called.
"""

from __future__ import annotations

import importlib
import os
import sys
import uuid
from collections.abc import Sequence

import click

from assistant.errors import BadInput, InternalError, KubeChatError, TurnCancelled
from ui.cli.output import print_error

# name -> (module, function, one line of help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "ask": ("ui.cli.ask", "ask", "Ask a question about the cluster."),
    "diagnose": ("ui.cli.diagnose", "diagnose", "Findings and root causes alone, without a model."),
    "route": ("ui.cli.route", "route", "Which specialist a question belongs to."),
    "snapshot": ("ui.cli.snapshot", "snapshot", "Record a live cluster, or serve a recorded one."),
    "codes": ("ui.cli.codes", "codes", "All checks with their severity and remedy."),
    "serve": ("ui.cli.serve", "serve", "Open the chat page on this machine."),
    "migrate": ("ui.cli.maintenance", "migrate_command", "Bring the database schema up to date."),
    "doctor": ("ui.cli.maintenance", "doctor", "Check each part, and say how to mend it."),
    "version": ("ui.cli.maintenance", "version", "The version."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        command: click.Command = getattr(importlib.import_module(row[0]), row[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """KubeChat: a Kubernetes engineer in a chat window.

    Ask in plain words; it looks at the cluster and says what is wrong, with evidence.
    """


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; the outermost edge of a process."""
    as_json = "--json" in arguments or "--jsonl" in arguments
    try:
        result = cli.main(args=list(arguments), prog_name="kubechat", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort as stop:  # click's word for Ctrl-C, and for an input that ended at a prompt
        return _stopped(stop.__cause__, as_json)
    except click.ClickException as error:
        return _failed(BadInput(error.format_message()), as_json)
    except KubeChatError as error:
        return _failed(error, as_json)
    except KeyboardInterrupt as stop:
        return _stopped(stop, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left; no second trace at exit
        return 0
    except Exception as error:
        number = uuid.uuid4().hex[:12]
        _log_crash(error, number)
        return _failed(InternalError(f"Something broke in KubeChat; its log says what, under {number}."), as_json)


def _failed(error: KubeChatError, as_json: bool) -> int:
    print_error(error, as_json)
    return error.exit_code


def _stopped(stop: BaseException | None, as_json: bool) -> int:
    """128 and the signal's number, as shells count it."""
    print_error(TurnCancelled("Stopped before it was done."), as_json)
    return 143 if type(stop).__name__ == "Terminated" else 130


def _log_crash(error: Exception, number: str) -> None:
    from assistant.telemetry import configure_logging, described, get_logger

    configure_logging("error")
    get_logger(__name__).error("command failed", number=number, error=described(error))


def main() -> None:
    """The entry point of `kubechat`."""
    sys.exit(run(sys.argv[1:]))


def kubectl_chat() -> None:
    """The entry point of `kubectl chat`: `kubechat ask` with kubectl's own context and namespace flags."""
    sys.exit(run(["ask", *sys.argv[1:]]))
