"""The command line: it starts the doors and the worker, and does by hand what the pages do."""

import typer

from crm.cli import mailing, people, running, team

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Red Voto Chilango: el CRM de la Red.")
app.add_typer(running.app)
for name, group in {
    "users": team.users,
    "clients": team.keys,
    "contacts": people.contacts,
    "segments": mailing.segments_group,
    "campaigns": mailing.campaigns_group,
    "consent": people.rules,
    "suppressions": people.suppressions,
}.items():
    app.add_typer(group, name=name)
