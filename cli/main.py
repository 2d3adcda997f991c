"""The `paidan` command."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import dead_letters, learning, model, operations, tickets, triage, units
from cli.connection import TIMEOUT, USUAL_TIMEOUT_SECONDS
from cli.demo.command import demo
from cli.up import up

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="派单 Paidan：企业诉求一分钟派单、三个工作日办结。 Routes an enterprise's request to the one unit that can solve it.",
)


@app.callback()
def _options(
    *,
    timeout: Annotated[
        float, typer.Option(min=0.1, envvar="PAIDAN_TIMEOUT", help="Seconds to wait for one answer of a service.")
    ] = USUAL_TIMEOUT_SECONDS,
) -> None:
    """Take the options of every command."""
    TIMEOUT.set(timeout)


app.command("up")(up)
app.command("demo")(demo)
app.command("submit")(tickets.submit)
app.add_typer(tickets.app, name="ticket")
app.add_typer(units.app, name="unit")
app.add_typer(triage.app, name="triage")
app.add_typer(dead_letters.app, name="dlq")
learning.add_to(model.app)
app.add_typer(model.app, name="model")
app.add_typer(operations.token_app, name="token")
app.add_typer(operations.db_app, name="db")
app.add_typer(operations.topics_app, name="topics")
app.add_typer(operations.enterprise_app, name="enterprise")


def main() -> None:
    """Run the command."""
    app()
