"""voice-connect: serve | demo | replay | doctor | reconcile | setup | profile.

Heavy imports wait until their command is called.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from voice_openai_connect import __version__, limits

if TYPE_CHECKING:
    from voice_openai_connect.config import Settings
    from voice_openai_connect.startup import Start

USAGE_ERROR: Final = 2
"""The exit status for settings, profiles and arguments that cannot be used."""

# Pretty tracebacks would show local variables, and with them secrets.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
setup = typer.Typer(no_args_is_help=True, help="Make what the outside services need. May be run again.")
profile = typer.Typer(no_args_is_help=True, help="Work on agent profiles.")
app.add_typer(setup, name="setup")
app.add_typer(profile, name="profile")

EnvFile = Annotated[Path, typer.Option("--env-file", help="Where settings are read from, beside the environment.")]
DEFAULT_ENV_FILE: Final = Path(".env")
DEFAULT_FLOW: Final = "voice-connect handover"
"""As the stack `voice-connect` of docs/deploy.md names it."""


def main() -> None:
    """The entry point of the command line."""
    app()


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"voice-openai-connect {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """A voice gateway: Twilio calls answered by OpenAI Realtime, and handed to a person in Amazon Connect."""


@app.command()
def serve(
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=limits.WORKERS_MAX, help="Processes that share the port; else WORKERS, else 1."),
    ] = None,
    env_file: EnvFile = DEFAULT_ENV_FILE,
) -> None:
    """Answer calls until told to stop. On SIGTERM, calls in progress are finished first."""
    _point_out_misspelt(env_file)
    with _nothing_is_garbage():
        start = _start(env_file)
    with _listening():
        if (number := workers or start.settings.workers) > 1:
            from voice_openai_connect.supervisor import run_workers

            raise typer.Exit(run_workers(start.settings, number, env_file=env_file))
        with _nothing_is_garbage():
            from voice_openai_connect.build import run_gateway

        raise typer.Exit(run_gateway(start.settings, start.profiles, start.tools))


@app.command(hidden=True)
def worker(
    room: Annotated[Path, typer.Option(help="The folder that the workers share.")],
    number: Annotated[int, typer.Option(help="Which of them this is, from 0.")],
    workers: Annotated[int, typer.Option(help="How many there are.")],
    port: Annotated[int, typer.Option(help="The port that they share.")],
    env_file: EnvFile = DEFAULT_ENV_FILE,
) -> None:
    """One of the processes that `serve --workers` starts. Of no use by itself."""
    with _nothing_is_garbage():
        start = _start(env_file)
        from voice_openai_connect.build import run_gateway
        from voice_openai_connect.gateway.siblings import Seat

    settings = start.settings.model_copy(update={"port": port})
    with _listening():
        raise typer.Exit(run_gateway(settings, start.profiles, start.tools, seat=Seat(room, number, workers)))


@app.command()
def demo(
    scenario: Annotated[str, typer.Option(help="Which call to play; --list shows them.")] = "",
    list_: Annotated[bool, typer.Option("--list", help="Show the calls there are.")] = False,
    out: Annotated[Path, typer.Option(help="Where recordings and screens go.")] = Path("out"),
) -> None:
    """Play one whole call in the terminal: no account, no network."""
    with _demo_packages():
        from voice_openai_connect.simulator.demo import DEFAULT_SCENARIO, run_demo
        from voice_openai_connect.simulator.scenarios import SCENARIOS

        if list_:
            width = max(map(len, SCENARIOS))
            typer.echo("\n".join(f"{name.ljust(width)}  {each.title}" for name, each in SCENARIOS.items()))
            return
        name = scenario or DEFAULT_SCENARIO
        if name not in SCENARIOS:
            _refuse(f"There is no scenario {name}. Choose one of: {', '.join(SCENARIOS)}")
        raise typer.Exit(run_demo(name, out))


@app.command()
def replay(file: Annotated[Path, typer.Argument(help="A recorded call (RECORD_CALLS).")]) -> None:
    """Play a recorded call through today's machine; tell where it would now decide otherwise."""
    from voice_openai_connect.recording.replay import run_replay

    raise typer.Exit(run_replay(file, typer.echo, lambda text: typer.echo(text, err=True)))


@app.command()
def doctor(env_file: EnvFile = DEFAULT_ENV_FILE) -> None:
    """Ask each service a real question; say what is wrong and how to mend it."""
    from voice_openai_connect.doctor import run_doctor

    raise typer.Exit(run_doctor(typer.echo, env_file=env_file))


@app.command()
def reconcile(
    hours: Annotated[
        int, typer.Option(min=1, max=limits.RECONCILE_HOURS_MAX, help="How far to look back.")
    ] = limits.RECONCILE_HOURS,
    env_file: EnvFile = DEFAULT_ENV_FILE,
) -> None:
    """Compare Twilio's list of calls with ours; name every caller of whom we do not know how their call ended."""
    from voice_openai_connect.reconcile import run_reconcile

    _point_out_misspelt(env_file)
    raise typer.Exit(run_reconcile(typer.echo, lambda text: typer.echo(text, err=True), hours=hours, env_file=env_file))


@app.command()
def capacity(
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="Calls at a time.")],
    minutes: Annotated[float, typer.Option(min=0.1, max=60, help="How long a call talks with the assistant.")] = 4,
    calls_per_second: Annotated[
        float | None, typer.Option(min=0.001, max=100_000, help="New calls; else as many as end.")
    ] = None,
    model: Annotated[str, typer.Option(help="Whose prices count.")] = "gpt-realtime-2.1",
    own: Annotated[
        list[str] | None, typer.Option("--set", help="A figure of your own, such as handover_share=0.1; repeatable.")
    ] = None,
) -> None:
    """Reckon what so many calls need: cores, the model's tokens, the services' limits, money. Asks nobody."""
    from voice_openai_connect.capacity import Load, plan
    from voice_openai_connect.capacity_figures import MODELS, FigureError, with_own
    from voice_openai_connect.capacity_report import report

    if model not in MODELS:
        _refuse(f"--model: the prices of {model} are not known. Choose one of: {', '.join(MODELS)}")
    try:
        figures = with_own(MODELS[model], own or ())
    except FigureError as error:
        _refuse(f"--set: {error}")
    steady = Load.steady(calls, minutes)
    load = Load(calls, minutes, calls_per_second) if calls_per_second else steady
    typer.echo(report(plan(load, figures), figures))


@setup.command("table")
def setup_table(env_file: EnvFile = DEFAULT_ENV_FILE) -> None:
    """Create the DynamoDB table of the handovers and switch its expiry on."""
    from voice_openai_connect.clients import dynamo_repository

    settings = _settings(env_file)

    async def work() -> list[str]:
        async with dynamo_repository(settings) as repository:
            return await repository.setup_table()

    _carry_out(work)


@setup.command("hubspot")
def setup_hubspot(env_file: EnvFile = DEFAULT_ENV_FILE) -> None:
    """Create the properties that contacts and tickets are found by. Needs a key with the schema scopes."""
    from voice_openai_connect.clients import hubspot_client

    client = hubspot_client(_settings(env_file))
    if client is None:
        _refuse("HUBSPOT_ACCESS_TOKEN is not set. Set it to a key with the schema scopes, for this command at least.")

    async def work() -> list[str]:
        async with client:
            return await client.setup()

    _carry_out(work)


@setup.command("connect")
def setup_connect(
    flow: Annotated[str, typer.Option(help="The contact flow's name, id or ARN.")] = DEFAULT_FLOW,
    env_file: EnvFile = DEFAULT_ENV_FILE,
) -> None:
    """Point the number in Amazon Connect at the contact flow: the one step that CloudFormation cannot take."""
    from voice_openai_connect.clients import point_connect_number

    settings = _settings(env_file)
    if not settings.connect_instance_id:
        _refuse("CONNECT_INSTANCE_ID is not set. Set it to what follows instance/ in the ARN of the Connect instance.")

    async def work() -> list[str]:
        return await point_connect_number(settings, flow)

    _carry_out(work)


@profile.command("check")
def profile_check(file: Annotated[Path, typer.Argument(help="A profile (TOML).")]) -> None:
    """Name every mistake in a profile, with its line and what to do."""
    with _explained():
        from voice_openai_connect.profile import load_profiles

        profiles = load_profiles(file)
    for each in profiles.by_name.values():
        numbers = ", ".join(each.options.numbers) or "every other number"
        typer.echo(f"{each.name}: answers {numbers} in {each.options.language}; {len(each.options.intents)} intents")


# --- What goes wrong because of what a person typed ----------------------------------------------------------------


def _refuse(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(USAGE_ERROR)


def _start(env_file: Path) -> "Start":
    from voice_openai_connect.startup import load_start

    with _explained():
        return load_start(env_file=env_file)


@contextmanager
def _nothing_is_garbage() -> Generator[None]:
    """While a command is being loaded, looking for garbage takes a tenth of the time and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _listening() -> Generator[None]:
    """An address that cannot be listened on ends the command with one sentence."""
    from voice_openai_connect.gateway.server import CannotListenError
    from voice_openai_connect.supervisor import CannotSuperviseError

    try:
        yield
    except (CannotListenError, CannotSuperviseError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _settings(env_file: Path) -> "Settings":
    from voice_openai_connect.config import load_settings

    _point_out_misspelt(env_file)
    with _explained():
        return load_settings(env_file=env_file)


def _point_out_misspelt(env_file: Path) -> None:
    """First of all: a misspelt name is often why another one is missing."""
    from voice_openai_connect.config import misspelt

    for line in misspelt(env_file):
        typer.echo(f"{env_file}: {line}", err=True)


@contextmanager
def _explained() -> Generator[None]:
    """Mistakes in settings, profile and tools end the command with their own words, and without a traceback."""
    from voice_openai_connect.config import ConfigError

    try:
        yield
    except ConfigError as error:
        _refuse(str(error))


@contextmanager
def _demo_packages() -> Generator[None]:
    """The demo needs packages that a gateway does not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("voice_openai_connect"):
            raise
        _refuse(
            f"The demo needs the package {error.name}, which is not installed.\n"
            "Run `make demo`, which installs everything, or: pip install 'voice-openai-connect[demo]'"
        )


def _carry_out(work: Callable[[], Awaitable[list[str]]]) -> None:
    """Run setup work and say what was done. A service that refuses ends the command with exit status 1."""
    from voice_openai_connect.integrations.connect_setup import ConnectSetupError
    from voice_openai_connect.integrations.dynamo_repository import StoreError
    from voice_openai_connect.integrations.hubspot_api import CrmError
    from voice_openai_connect.logs import configure_logging

    configure_logging("ERROR", stream=sys.stderr.buffer)

    async def run() -> list[str]:
        return await work()

    try:
        done = asyncio.run(run())
    except (StoreError, CrmError) as error:
        typer.echo(f"{error}. `voice-connect doctor` says more.", err=True)
        sys.exit(1)
    except ConnectSetupError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    typer.echo("\n".join(done))
