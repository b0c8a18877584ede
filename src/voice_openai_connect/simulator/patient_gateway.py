"""The gateway as it is, but for one thing: however late its event loop is, it refuses no call for that.

    python -m voice_openai_connect.simulator.patient_gateway serve

For tests on a machine that has other work to do: there a process may stand still for a second through no fault of its
own, and a call that is refused for it would hide what the test is about. Workers that it starts are ordinary ones.
"""

import math

from voice_openai_connect import limits
from voice_openai_connect.cli import main

if __name__ == "__main__":
    limits.__dict__["LAG_BUSY_MS"] = math.inf
    main()
