"""What the command line takes: names, options and help, in the order in which they are listed.

Each command imports what it needs when it runs, so that `coe --help` is quick.
"""

from __future__ import annotations

import typer

from coe.cli.commands import (
    config,
    exp,
    experts,
    gateway,
    keys,
    learn,
    maps,
    panel,
    router,
    scheduling,
    scoring,
)

app = typer.Typer(
    name="coe",
    help="A Composition-of-Experts gateway: classify, pick the expert, stream, explain.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    gateway.serve,
    gateway.check,
    gateway.route,
    gateway.ask,
    gateway.why,
    router.calibrate,
    scoring.score,
    scoring.evaluate,
    scoring.replay,
    gateway.batch,
    scheduling.sim,
    scheduling.plan,
    scheduling.scheduling,
    gateway.init,
    gateway.version,
):
    app.command()(command)
app.command("import")(gateway.import_)
app.add_typer(router.app, name="router")
app.add_typer(maps.app, name="map")
app.add_typer(panel.app, name="panel")
app.add_typer(exp.app, name="exp")
app.add_typer(learn.app, name="learn")
app.add_typer(experts.app, name="experts")
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")
