"""``lps rig serve``: the display page and the operator's page in a browser."""

from __future__ import annotations

import threading

import click

from .common import SIZE, json_option, print_json


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind to; 0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--size", type=SIZE, help="Pixels of the targets, such as 1920x1080; default: the display page's own.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the noise targets.")
@click.option("--eotf", default="srgb", show_default=True, help="The screen's transfer curve.")
@json_option
def serve(host: str, port: int, size: tuple[int, int] | None, seed: int, eotf: str, as_json: bool) -> None:
    """Serve the display page and the operator's page, to step through the targets by hand.

    Only this machine reaches them, unless --host says otherwise: then the addresses carry a random token, and who
    has it can operate the rig. Ctrl-C ends it.
    """
    from capture_rig.display.server import RigServer
    from capture_rig.display.stepper import TargetStepper
    from capture_rig.targets import standard_set
    from lps_sim.transfer import check_eotf_name

    check_eotf_name(eotf)
    try:
        with RigServer(host=host, port=port, size=size, eotf=eotf) as server:
            stepper = TargetStepper(server.screen, standard_set(seed))
            server.run = stepper
            if as_json:
                print_json({"display": server.display_url, "operator": server.operator_url})
            else:
                click.echo(f"on the screen to be filmed: {server.display_url}")
                click.echo(f"for the operator:           {server.operator_url}")
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                click.echo("stopped", err=True)
            finally:
                stepper.close()
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
