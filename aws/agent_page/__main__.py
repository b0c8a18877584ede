"""`python3 -m aws.agent_page`: makes the agent page for one Connect instance, a folder ready to be uploaded."""

import argparse
import html
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from aws.agent_page.streams import LibraryError, library

HERE: Final = Path(__file__).parent
STATIC: Final = ("app.js", "screen.js", "style.css")
CACHE: Final = HERE.parents[1] / ".tools" / "streams"
"""Beside the other tools that are fetched once; `make clean` removes it."""

_CCP: Final = re.compile(
    r"(?P<origin>https://[a-z0-9-]+(?:\.my\.connect\.aws|\.govcloud\.connect\.aws|\.awsapps\.com))(?:/connect)?/ccp-v2/?"
)
"""Where instances have their contact control panel: today's address, GovCloud's, and the one of old instances."""
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_ANY_INSTANCE: Final = "https://*.my.connect.aws"


class PageError(Exception):
    """What was asked for makes no page. Says what to write instead."""


def built(ccp_url: str, region: str) -> str:
    """index.html for that instance, which alone it may embed. Raises `PageError`."""
    found = _CCP.fullmatch(ccp_url)
    if found is None:
        raise PageError(f"{ccp_url!r} is no contact control panel: write https://ALIAS.my.connect.aws/ccp-v2/")
    if not _REGION.fullmatch(region):
        raise PageError(f"{region!r} is no region: write it as in ap-southeast-2")
    page = (HERE / "index.html").read_text(encoding="utf-8")
    page = page.replace(_ANY_INSTANCE, found["origin"])
    page = page.replace('name="ccp-url" content=""', f'name="ccp-url" content="{html.escape(ccp_url)}"')
    return page.replace('name="connect-region" content=""', f'name="connect-region" content="{html.escape(region)}"')


def main(arguments: list[str]) -> int:
    """0 when the folder is written, 2 when something stands against it, which is said."""
    asked = _parser().parse_args(arguments)
    try:
        page = built(asked.ccp, asked.region)
        streams = library(CACHE)
    except (PageError, LibraryError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "index.html").write_text(page, encoding="utf-8")
    for file in (streams, *(HERE / name for name in STATIC)):
        shutil.copyfile(file, asked.out / file.name)
    sys.stdout.write(f"{asked.out} is ready: put it on a host with https, and tell Connect its address\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m aws.agent_page", description=main.__doc__)
    parser.add_argument("ccp", help="https://ALIAS.my.connect.aws/ccp-v2/")
    parser.add_argument("--region", required=True, help="the instance's region, such as ap-southeast-2")
    parser.add_argument("--out", type=Path, default=Path("out/agent-page"), help="the folder to write (out/agent-page)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
