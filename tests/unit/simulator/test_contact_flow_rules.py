"""The town reads the flows with the language that lies beside them, and finds both from anywhere."""

import subprocess
import sys
from pathlib import Path

from aws.contact_flow.validator import Flow

from voice_openai_connect.simulator import contact_flow_rules


def test_the_town_has_the_same_language_as_the_flows() -> None:
    assert contact_flow_rules.Flow is Flow


def test_it_is_found_wherever_the_command_is_run(tmp_path: Path) -> None:
    """The demo is started by a command, not from the root of the checkout."""
    source = contact_flow_rules.CHECKOUT / "src"
    code = "from voice_openai_connect.simulator.contact_center import deployed_flow; print(deployed_flow().start)"

    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == "buffer-on\n"
