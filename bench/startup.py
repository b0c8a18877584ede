"""How long the gateway takes from the command to its first ready answer, and the command line to its help.

    python -m bench.startup                  # five starts each, one process
    python -m bench.startup --workers 2 --runs 9

Everything is configured, against addresses of this machine at which nobody answers: a start waits for no service.
"""

import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from voice_openai_connect.simulator.ports import free_port

START_S: Final = 60.0
POLL_S: Final = 0.005
NOBODY: Final = "http://127.0.0.1:9"
SETTINGS: Final = {
    "HOST": "127.0.0.1",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "token",
    "TWILIO_PHONE_NUMBER": "+61255501234",
    "OPENAI_API_KEY": "sk-local",
    "OPENAI_BASE_URL": f"{NOBODY}/v1",
    "AWS_REGION": "ap-southeast-2",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_ENDPOINT_URL_DYNAMODB": NOBODY,
    "AWS_ENDPOINT_URL_CONNECT": NOBODY,
    "DYNAMODB_TABLE_NAME": "handovers",
    "CONNECT_PHONE_NUMBER": "+61255505678",
    "CONNECT_INSTANCE_ID": "11111111-2222-3333-4444-555555555555",
    "HUBSPOT_ACCESS_TOKEN": "pat-local",
    "HUBSPOT_API_BASE_URL": NOBODY,
}


def command(*words: str) -> list[str]:
    """The command line as `voice-connect` runs it."""
    return [sys.executable, "-m", "voice_openai_connect", *words]


def seconds_to_ready(workers: int, folder: str) -> float:
    """From the start of the process to its first 200 at /readyz; it is stopped again."""
    port = free_port()
    settings = {**SETTINGS, "PORT": str(port), "PUBLIC_HOST": f"http://127.0.0.1:{port}"}
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        command("serve", "--workers", str(workers)),
        env={"PATH": os.environ.get("PATH", ""), **settings},
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        while not is_ready(port):
            if process.poll() is not None or time.perf_counter() - began > START_S:
                raise SystemExit("the gateway did not start; run `voice-connect serve` to see why")
            time.sleep(POLL_S)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def is_ready(port: int) -> bool:
    """Whether /readyz says so."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def seconds_to_help(folder: str) -> float:
    """The whole of `voice-connect --help`."""
    began = time.perf_counter()
    subprocess.run(command("--help"), check=True, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - began


def processor_seconds(measure: Callable[[], object]) -> float:
    """What the processes of a measurement took of a core, whoever else had it meanwhile; their end included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    measure()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def figures(measure: Callable[[], float], runs: int) -> dict[str, float]:
    """Median, best and worst of so many runs."""
    found = [measure() for _ in range(runs)]
    return {name: round(of(found), 2) for name, of in (("median", statistics.median), ("min", min), ("max", max))}


def main() -> None:
    """Measure and print; `--json` writes the figures to a file as well."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=5)
    asked.add_argument("--workers", type=int, default=1)
    asked.add_argument("--json", type=Path)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def ready() -> float:
            return seconds_to_ready(options.workers, folder)

        result = {
            "serve_ready_s": figures(ready, options.runs),
            "serve_processor_s": figures(lambda: processor_seconds(ready), options.runs),
            "help_s": figures(lambda: seconds_to_help(folder), options.runs),
        }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
