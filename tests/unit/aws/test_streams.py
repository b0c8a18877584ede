"""Amazon's library: one version, and no byte of it that is another."""

import tarfile
from pathlib import Path

import pytest
from aws.agent_page import streams

NPM = '#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\n'


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """An npm that does `what` in the folder that it is to pack into, `$2`."""
    folder.mkdir()
    (folder / "npm").write_text(NPM + what, encoding="utf-8")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def package(path: Path, content: bytes) -> Path:
    """A package of the library's shape, whose hash is taken for the right one."""
    source = path.with_suffix(".js")
    source.write_bytes(content)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, streams.MEMBER)
    return path


def trust(monkeypatch: pytest.MonkeyPatch, archive: Path, content: bytes) -> None:
    monkeypatch.setattr(streams, "PACKAGE_HASH", streams.hash_of(archive.read_bytes(), "sha512"))
    monkeypatch.setattr(streams, "FILE_HASH", streams.hash_of(content, "sha384"))


def test_the_page_asks_for_the_hash_of_that_file() -> None:
    page = (Path(streams.__file__).parent / "index.html").read_text(encoding="utf-8")

    assert f'src="{streams.FILE}" integrity="{streams.FILE_HASH}"' in page


def test_a_hash_is_written_as_browsers_and_npm_write_it() -> None:
    assert streams.hash_of(b"", "sha384") == ("sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb")


def test_the_library_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = package(tmp_path / "p.tgz", b"the library")
    trust(monkeypatch, archive, b"the library")
    npm(tmp_path / "bin", monkeypatch, f'cp {archive} "$2"')
    cache = tmp_path / "cache"
    fetched = streams.library(cache)
    monkeypatch.setenv("PATH", "")

    assert fetched.read_bytes() == b"the library"
    assert streams.library(cache) == fetched


def test_a_cached_file_that_has_changed_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = package(tmp_path / "p.tgz", b"the library")
    trust(monkeypatch, archive, b"the library")
    npm(tmp_path / "bin", monkeypatch, f'cp {archive} "$2"')
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / streams.FILE).write_bytes(b"something else")

    assert streams.library(cache).read_bytes() == b"the library"


def test_another_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(streams.LibraryError, match="not the package that was tested"):
        streams.unpacked(package(tmp_path / "p.tgz", b"hacked=1"))


@pytest.mark.parametrize("what", ["exit 1", "exit 0"], ids=["a failure", "nothing fetched"])
def test_an_npm_that_cannot_fetch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    npm(tmp_path / "bin", monkeypatch, what)

    with pytest.raises(streams.LibraryError, match="npm pack amazon-connect-streams"):
        streams.library(tmp_path / "cache")


def test_without_npm_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(streams.LibraryError, match=r"Node\.js"):
        streams.library(tmp_path / "cache")
