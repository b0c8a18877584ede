"""The agent's page of one call as a single file, to be looked at in a browser after the demo.

The page's own markup, style and code are in it, so what it shows is what an agent would see; only Amazon's panel is
left out. It needs no network, and its content security policy lets nothing run but that code.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from voice_openai_connect.simulator.contact_flow_rules import CHECKOUT

PAGE: Final = CHECKOUT / "aws" / "agent_page"

_LINK: Final = '<link rel="stylesheet" href="style.css">'
_SCRIPTS: Final = ('<script src="connect-streams-min.js"', '<script src="app.js"')
_POLICY: Final = '<meta http-equiv="Content-Security-Policy"'


def saved_page(attributes: Mapping[str, str], *, caller: str, queue: str, folder: Path = PAGE) -> str:
    """The HTML of the page with this call on it; the arguments are those of `agent_screen.fields`.

    Raises `OSError` where the page's files are not at hand.
    """
    page, style, screen = (
        (folder / name).read_text(encoding="utf-8") for name in ("index.html", "style.css", "screen.js")
    )
    call = {"attributes": dict(attributes), "caller": caller, "queue": queue}
    code = f'{screen}\nshow({_json(call)});\ntell("A call from the demo");\n'
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    lines = [line for line in page.splitlines() if not line.strip().startswith((*_SCRIPTS, _POLICY))]
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n  <style>{style}</style>'
    return "\n".join(lines).replace(_LINK, f'{head}\n  <script type="module">{code}</script>') + "\n"


def _json(value: object) -> str:
    """JSON that may stand inside a script of a page: no `<` can end it, and it is all one line."""
    return json.dumps(value).replace("<", "\\u003c")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
