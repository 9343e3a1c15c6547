"""Weights on their way to a machine without a network: one tar file with a manifest, digests and licences.

    manifest.json      what is in it: models, tags, licences, links, and name, size and sha256 of every file
    files/<sha256>     the content, each once

The form is plain tar, so that other programs can look into it. Reading goes block by block: nothing in the archive
decides where anything is written, and no header makes us keep more than a block and the manifest in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from omlab import progress
from omlab.card_schema import Sha256, WeightsFile
from omlab.digests import file_digest
from omlab.errors import OmlabError, OutputError, UsageError, WeightsError
from omlab.files import replacing, writing
from omlab.weights import cache, files, snapshot, sources
from omlab.weights.entries import Entry

MANIFEST = "manifest.json"
_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 64 << 20
_MEMBER = re.compile(r"files/([0-9a-f]{64})")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Strict):
    """One file. `published`: the card gives its sha256."""

    name: str
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256
    published: bool = False


class Row(_Strict):
    """One entry of a model card: a file, or a repository (`commit` where it is known)."""

    model: str
    tag: str
    licence: Annotated[str, StringConstraints(min_length=1)]
    url: str
    kind: Literal["file", "repository"]
    commit: str | None = None
    files: Annotated[list[Member], Field(min_length=1)]


class Manifest(_Strict):
    """What is in a bundle."""

    omlab_weights_bundle: Literal[1]
    weights: Annotated[list[Row], Field(min_length=1)]

    def sizes(self) -> dict[str, int]:
        """Bytes by sha256, each content once, in the order of the archive."""
        return {member.sha256: member.size for row in self.weights for member in row.files}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One entry of a bundle: where it lies now, and whether it was there already."""

    row: Row
    path: Path
    was_there: bool


def write(entries: Sequence[Entry], output: Path) -> Manifest:
    """Write a bundle of `entries`, fetching what is not on this machine; the same weights give the same bytes.

    Raises:
        UsageError: An entry is an endpoint or a file of the user's.
        WeightsError: A file is damaged, or cannot be fetched.
        OutputError: Something is in the place, or it cannot be written to.
    """
    output = Path(output)
    if output.exists():
        raise OutputError(f"{output} exists already; remove it or choose another name.")
    described = [_describe(entry) for entry in entries]
    manifest = Manifest(omlab_weights_bundle=1, weights=[row for row, _ in described])
    where = {digest: path for _, paths in described for digest, path in paths.items()}
    sizes = manifest.sizes()
    with writing("The bundle", output), replacing(output) as temporary:
        _check_room(temporary.parent, sum(sizes.values()), output)
        with (
            tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive,
            progress.bar(f"writing {output.name}", total=sum(sizes.values())) as advance,
        ):
            _add_text(archive, MANIFEST, json.dumps(manifest.model_dump(), indent=1))
            for digest, size in sizes.items():
                with where[digest].open("rb") as stream:
                    reader = _Hashing(stream, advance)
                    _add(archive, f"files/{digest}", size, reader)
                if reader.digest.hexdigest() != digest:
                    raise WeightsError(f"{where[digest]} has changed while it was exported; run the command again.")
    return manifest


def read(bundle: Path) -> list[Placed]:
    """Put what is in a bundle into the cache; no file gets its name there before all of the bundle is checked.

    Raises:
        WeightsError: It is not a bundle, is truncated, damaged or dishonest, or the cache holds another version of
            a file.
        DownloadError: The cache cannot be written, or has no room.
    """
    bundle = Path(bundle)
    files.check_regular(bundle)
    try:
        stream = bundle.open("rb")
    except OSError as error:
        raise WeightsError(f"The bundle {bundle} cannot be read: {error.strerror or error}.") from error
    try:
        with stream, _staging() as folder:
            manifest = _read_manifest(stream, bundle)
            needed = {_place(row): row for row in manifest.weights if not _is_there(row)}
            wanted = {member.sha256: member.size for row in needed.values() for member in row.files}
            files.check_room(folder, sum(wanted.values()), name=bundle.name)
            _unpack(stream, manifest, wanted=set(wanted), folder=folder, bundle=bundle)
            for row in needed.values():
                _install(row, folder)
    except OSError as error:
        raise files.not_writable(cache.cache_folder() / "weights", error) from error
    return [Placed(row=row, path=_place(row), was_there=_place(row) not in needed) for row in manifest.weights]


def _describe(entry: Entry) -> tuple[Row, dict[str, Path]]:
    """An entry as it stands in the manifest, and where its content lies by sha256."""
    if entry.file is not None:
        if sources.parse(entry.file.url).kind == "local":
            raise UsageError(f"{entry.name} is the file {entry.place()} of yours: copy it as it is.")
        path = entry.fetch()
        sha256 = cache.sha256_of(entry.file) or file_digest(path)
        listed = [
            Member(name=entry.file.name, size=path.stat().st_size, sha256=sha256, published=bool(entry.file.sha256))
        ]
        paths, commit = {sha256: path}, None
    else:
        entry.fetch()
        found = snapshot.cached(entry.url)
        assert found is not None
        listed = [Member(name=name, size=fact.size, sha256=fact.sha256) for name, fact in sorted(found.facts.items())]
        paths, commit = {found.facts[name].sha256: path for name, path in found.paths.items()}, found.commit
    row = Row(
        model=entry.model,
        tag=entry.tag,
        licence=entry.licence,
        url=entry.url,
        kind="file" if entry.file is not None else "repository",
        commit=commit,
        files=listed,
    )
    return row, paths


class _Hashing(io.RawIOBase):
    """A file being read, hashed and counted on the way."""

    def __init__(self, stream: IO[bytes], advance: progress.Advance) -> None:
        self._stream, self._advance = stream, advance
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        self.digest.update(block)
        self._advance(len(block))
        return block


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    _add(archive, name, len(content), io.BytesIO(content))


def _add(archive: tarfile.TarFile, name: str, size: int, stream: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, stream)


def _check_room(folder: Path, wanted: int, output: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OutputError(
            f"{output} needs {files.megabytes(wanted)}, and {files.megabytes(free)} are free there: make room, or "
            "choose another place."
        )


@contextmanager
def _staging() -> Iterator[Path]:
    """A folder of the cache for what is not checked yet; what a killed import left there is removed."""
    folder = cache.cache_folder() / "weights" / ".import"
    with files.lock(folder):
        try:
            shutil.rmtree(folder)
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(stream: IO[bytes], bundle: Path) -> Manifest:
    name, size = _header(stream, bundle) or ("", 0)
    if name != MANIFEST or size > _LARGEST_MANIFEST:
        raise WeightsError(f"{bundle} is not a bundle of weights: it does not begin with {MANIFEST}.")
    content = b"".join(_content(stream, size, bundle))
    try:
        manifest = Manifest.model_validate_json(content)
        for row in manifest.weights:
            _check_row(row)
        _check_places(manifest)
    except (ValidationError, OmlabError) as error:
        said = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in said["loc"]) or MANIFEST
        raise WeightsError(f"{bundle} is not a bundle of weights: {where}: {str(said['msg']).rstrip('.')}.") from error
    return manifest


def _check_row(row: Row) -> None:
    """What a manifest says of a file decides about nothing but its place in the cache."""
    files.check_name(row.model)
    files.check_name(row.tag)
    for member in row.files:
        snapshot.check_member(member.name)
    names = {member.name.casefold() for member in row.files}
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if len(names) != len(row.files) or names & folders:
        raise WeightsError(f"{row.model}.{row.tag} names a file twice")
    if row.kind == "repository":
        sources.parse_repository(row.url)
    elif len(row.files) != 1 or "/" in row.files[0].name or sources.parse(row.url).kind == "local":
        raise WeightsError(f"{row.model}.{row.tag} is not one published file")


def _check_places(manifest: Manifest) -> None:
    content: dict[Path, dict[str, str]] = {}
    for row in manifest.weights:
        digests = {member.name: member.sha256 for member in row.files}
        if content.setdefault(_place(row), digests) != digests:
            raise WeightsError(f"{row.url} is in it with two contents")


def _header(stream: IO[bytes], bundle: Path) -> tuple[str, int] | None:
    """Name and size of the next file of the archive; None at its end."""
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        raise WeightsError(f"{bundle} is truncated or not a bundle of weights; copy it again.")
    if not any(block):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise WeightsError(f"{bundle} is damaged or not a bundle of weights ({error}); copy it again.") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
        raise WeightsError(f"{bundle} is refused: '{info.name}' in it is not a plain file.")
    return info.name, info.size


def _content(stream: IO[bytes], size: int, bundle: Path) -> Iterator[bytes]:
    """The bytes of a file of the archive; the stream then stands at the next header."""
    left = size
    while left:
        block = stream.read(min(left, _CHUNK))
        if not block:
            raise WeightsError(f"{bundle} is truncated; copy it again.")
        left -= len(block)
        yield block
    stream.read(-size % _BLOCK)


def _unpack(stream: IO[bytes], manifest: Manifest, *, wanted: set[str], folder: Path, bundle: Path) -> None:
    """Write the `wanted` content to `folder/<sha256>`, each checked."""
    sizes = manifest.sizes()
    missing = set(sizes)
    with progress.bar(f"reading {bundle.name}", total=sum(sizes.values())) as advance:
        while (header := _header(stream, bundle)) is not None:
            name, size = header
            found = _MEMBER.fullmatch(name)
            if found is None or found[1] not in missing or sizes[found[1]] != size:
                raise WeightsError(f"{bundle} is refused: '{name}' in it is not what its manifest says.")
            digest = hashlib.sha256()
            with (folder / found[1]).open("wb") if found[1] in wanted else nullcontext() as out:
                for block in _content(stream, size, bundle):
                    digest.update(block)
                    advance(len(block))
                    if out is not None:
                        out.write(block)
            if digest.hexdigest() != found[1]:
                raise WeightsError(f"{bundle} is damaged: '{name}' has the sha256 {digest.hexdigest()}; copy it again.")
            missing.discard(found[1])
    if missing:
        raise WeightsError(f"{bundle} is truncated: {len(missing)} of its {len(sizes)} files are not in it.")


def _file(row: Row) -> WeightsFile:
    """As the card describes it, past the schema, which the link need not follow."""
    member = row.files[0]
    sha256 = member.sha256 if member.published else None
    return WeightsFile.model_construct(name=member.name, url=row.url, size=member.size, sha256=sha256)


def _place(row: Row) -> Path:
    return snapshot.place(row.url) if row.kind == "repository" else cache.place(_file(row))


def _is_there(row: Row) -> bool:
    """Whether the cache holds it already. Raises `WeightsError` where it holds something else in its place."""
    path = _place(row)
    if not path.exists():
        return False
    if row.kind == "repository":
        found = snapshot.cached(row.url)
        here = found.sha256 if found else {}
        same = here == {member.name: member.sha256 for member in row.files}
    else:
        same = cache.check(_file(row), path) is None and cache.sha256_of(_file(row)) == row.files[0].sha256
    if not same:
        raise WeightsError(
            f"{path} is damaged or of another version than in the bundle: run 'omlab weights remove "
            f"{row.model}.{row.tag}' and import again."
        )
    return True


def _install(row: Row, staged: Path) -> None:
    """Give the checked content of a row its place."""
    path = _place(row)
    temporary = path.with_name(f".{path.name}.part")
    with files.lock(path.parent):
        if row.kind == "file":
            temporary.unlink(missing_ok=True)
            _put(staged / row.files[0].sha256, temporary)
            cache.write_record(_file(row), path, sha256=row.files[0].sha256, written=temporary)
            files.replace(temporary, path)
            return
        shutil.rmtree(temporary, ignore_errors=True)
        for member in row.files:
            target = temporary / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(staged / member.sha256, target)
        sha256 = {member.name: member.sha256 for member in row.files}
        snapshot.keep(row.url, temporary, commit=row.commit, sha256=sha256)


def _put(staged: Path, target: Path) -> None:
    """A second name for a staged file, which another row may need too; a copy where the disk knows no such thing."""
    try:
        target.hardlink_to(staged)
    except OSError:
        shutil.copyfile(staged, target)
