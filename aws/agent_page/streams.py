"""Amazon's library of the agent page, amazon-connect-streams: one version, known by its hash, fetched by npm.

It is not kept in this repository: 730 KB, minified, under Amazon's own licence (Apache-2.0). The page names its hash as
well, so a browser refuses any other file.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "amazon-connect-streams@2.28.2"
PACKAGE_HASH: Final = "sha512-YbGgGBmva2f9bUJEy8e/QLDbOLKO0WdaTh7c1slVdExn961BMR+sCa2ObbCt0JfcZeAbIWgKqiTaNA8hEmjQ4g=="
"""Of the package as the registry has it: what a package-lock.json would say."""
MEMBER: Final = "package/release/connect-streams-min.js"
FILE: Final = "connect-streams-min.js"
FILE_HASH: Final = "sha384-UtUVt9Krtp9WinrT0hcajzcaK/Hea1SFlsV/XFwmhCp3zVkm/Qw0u6t1msf2r9qs"
"""Of the one file that is used: the `integrity` that index.html asks for."""

FETCH_S: Final = 120


class LibraryError(Exception):
    """The library cannot be had. Says what to do."""


def library(cache: Path) -> Path:
    """The library's file: from the folder `cache` where it is there already, otherwise fetched into it.

    Nothing of the package runs here. Raises `LibraryError`.
    """
    file = cache / FILE
    if file.is_file() and hash_of(file.read_bytes(), "sha384") == FILE_HASH:
        return file
    cache.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_fetch())
    return file


def _fetch() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise LibraryError(f"npm is needed to fetch {PACKAGE}: install Node.js, which brings it")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", folder]
        try:
            # What it says goes nowhere: the package's hash is what counts.
            subprocess.run(command, check=True, capture_output=True, timeout=FETCH_S)  # noqa: S603 - fixed words
            package = next(Path(folder).glob("*.tgz"))
        except (subprocess.SubprocessError, OSError, StopIteration) as error:
            raise LibraryError(f"npm could not fetch {PACKAGE}: run `npm pack {PACKAGE}` to see why") from error
        return unpacked(package)


def unpacked(package: Path) -> bytes:
    """The library's file from its package. Raises `LibraryError` for a package that is not the one we know."""
    if hash_of(package.read_bytes(), "sha512") != PACKAGE_HASH:
        raise LibraryError(f"{PACKAGE} as fetched is not the package that was tested: its hash is another")
    with tarfile.open(package) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise LibraryError(f"{PACKAGE} has no {MEMBER}")
        return member.read()


def hash_of(content: bytes, kind: str) -> str:
    """As `integrity` attributes and package locks write it; `kind` is ``sha384`` or ``sha512``."""
    return f"{kind}-{base64.b64encode(hashlib.new(kind, content).digest()).decode()}"
