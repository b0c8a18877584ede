"""The language of contact flows, for the town. It lives in `aws/contact_flow`, beside the flows themselves.

That folder needs nothing of ours and is no part of the package; only a checkout has it. So a checkout's root is put at
the end of the import path here.
"""

import sys
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[3]
sys.path.append(str(CHECKOUT))

from aws.contact_flow.action import Action, FlowKind, FlowRefusedError  # noqa: E402
from aws.contact_flow.rules import REFERENCE  # noqa: E402
from aws.contact_flow.validator import Flow  # noqa: E402

__all__ = ["CHECKOUT", "REFERENCE", "Action", "Flow", "FlowKind", "FlowRefusedError"]
