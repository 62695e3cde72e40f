"""The command line: it starts the doors and the worker, and does by hand what the pages do."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

WHERE = {
    **dict.fromkeys(("run", "web", "worker", "migrate", "demo"), "running.app"),
    **dict.fromkeys(("backup", "restore", "doctor"), "keeping.app"),
    "users": "team.users",
    "clients": "team.keys",
    "contacts": "people.contacts",
    "segments": "mailing.segments_group",
    "campaigns": "mailing.campaigns_group",
    "dkim": "mailing.app",
    "consent": "people.rules",
    "suppressions": "people.suppressions",
}
"""The module of each command, and its name there."""


class _Commands(TyperGroup):
    """A command's module is read when the command is called: the web door, which most do not need, takes seconds to read."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(WHERE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in WHERE:
            return None
        module, _, name = WHERE[cmd_name].partition(".")
        group = typer.main.get_group(getattr(import_module(f"crm.cli.{module}"), name))
        group.name = cmd_name
        return group.commands[cmd_name] if name == "app" else group


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def about() -> None:
    """Red Voto Chilango: el CRM de la Red."""
