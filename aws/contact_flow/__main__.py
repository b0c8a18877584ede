"""`python3 -m aws.contact_flow`: writes the flows that a configuration describes, or says whether they are so."""

import argparse
import sys
from pathlib import Path

from aws.contact_flow.action import FlowRefusedError
from aws.contact_flow.config import FILE, ConfigError, load_config
from aws.contact_flow.flow import render_all


def main(arguments: list[str]) -> int:
    """0 when all is written, or as it should be; 1 when `--check` finds a difference; 2 for mistakes, all named."""
    asked = _parser().parse_args(arguments)
    try:
        rendered = render_all(load_config(asked.config, language=asked.language))
    except (ConfigError, FlowRefusedError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    different = {name: text for name, text in rendered.items() if _read(asked.out / name) != text}
    if asked.check:
        sys.stdout.writelines(f"{name} is not as the configuration describes it\n" for name in different)
        return 1 if different else 0
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, text in different.items():
        (asked.out / name).write_text(text, encoding="utf-8")
    sys.stdout.writelines(f"{asked.out / name}{'' if name in different else ' (as before)'}\n" for name in rendered)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m aws.contact_flow", description=main.__doc__)
    parser.add_argument("config", type=Path, nargs="?", default=FILE, help="the configuration (TOML)")
    parser.add_argument("--out", type=Path, default=FILE.parent, help="the folder the flows are written to")
    parser.add_argument("--language", default="", help="the language callers hear, instead of the configuration's")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    return parser


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
