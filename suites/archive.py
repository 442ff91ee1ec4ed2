"""A suite's results as one small file to publish: all that a report needs, and nothing that can be computed again."""

import io
import lzma
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suites.claim import is_claimed
from suites.store import PUBLISHED, Store, read_json
from wombet.errors import InputError
from wombet.files import canonical_json, pretty_json, sha256, sha256_of_file, write_atomically

ARCHIVE, INDEX = "store.tar.xz", "index.json"
FORMAT = 1
RUN_FILES = (
    *("spec.json", "provenance.json", "status.json", "error.txt", "done.json"),
    *("evals.jsonl", "costs.jsonl", "train.jsonl"),
)
DATASET_FILES = ("card.json", "provenance.json", "diagnosis.json")
BUILDING_FILES = ("recipe.json", "provenance.json", "status.json", "error.txt")
_POLICY = "policy.safetensors"
_ROWS = ("data", "parts", "source", "model", "agent")
"""Folders of a dataset that its recipe gives again."""
_NAME = r"(?!\.)[^/\\]+"
_MEMBER = re.compile(
    rf"{re.escape(PUBLISHED)}|suites/{_NAME}\.json|"
    rf"runs/{_NAME}/{_NAME}/s\d+-[0-9a-f]{{12}}/({'|'.join(map(re.escape, RUN_FILES))})|"
    rf"datasets/{_NAME}/({'|'.join(map(re.escape, sorted({*DATASET_FILES, *BUILDING_FILES})))})"
)
_CHUNK = 1 << 20


def pack(store: Store, suite: str, path: Path, place: str) -> dict[str, Any]:
    """Write what a store holds of a suite, without weights and rows of datasets, to an archive; return its index.

    `place` is where readers will find it, such as results/quickstart. The same records give the same bytes. Runs and
    datasets at which somebody is at work are left out. Raises InputError if the store does not know the suite.
    """
    manifest = store.manifest(suite)
    files, left_out = _contents(store, manifest)
    notice = pretty_json({"format": FORMAT, "suite": suite, "place": place, "left_out": left_out}).encode()
    with lzma.open(path, "wb", preset=6) as compressed, tarfile.open(fileobj=compressed, mode="w") as archive:
        _add(archive, PUBLISHED, notice)
        # Files of one kind beside each other compress best.
        for name in sorted(files, key=lambda name: (Path(name).name, name)):
            _add(archive, name, (store.root / name).read_bytes())
        archive.close()
        size = compressed.tell()
    finished = {cell["folder"] for cell in manifest["cells"] if f"{cell['folder']}/done.json" in files}
    return {
        "format": FORMAT,
        "suite": suite,
        "manifest_sha256": sha256(canonical_json(manifest)),
        "planned": len(manifest["cells"]),
        "finished": len(finished),
        "archive": {
            "sha256": sha256_of_file(path),
            "bytes": path.stat().st_size,
            "unpacked_bytes": size,
            "files": len(files) + 1,
        },
    }


def unpack(published: Path, root: Path) -> dict[str, Any]:
    """Make a store of published results in a new or empty folder, whole or not at all; return the index.

    Nothing but the known files of a store is taken out, no more of them and no more bytes than the index tells of.
    Raises InputError if there are no published results, if they were changed, or if the folder holds something.
    """
    index, archive = read_index(published), published / ARCHIVE
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not empty; name a new folder for the store")
    if not archive.is_file() or sha256_of_file(archive) != index["archive"]["sha256"]:
        raise InputError(f"{archive} is missing, truncated or was changed (its hash is not that of {INDEX})")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as folder:
        made = Path(folder) / "store"
        made.mkdir()
        try:
            _extract(archive, made, index["archive"]["unpacked_bytes"], index["archive"]["files"])
        except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
            raise InputError(f"{archive} cannot be unpacked: {error}") from error
        made.replace(root)
    return index


def read_index(published: Path) -> dict[str, Any]:
    """Return the index of a folder of published results; raises InputError if it has none that can be read."""
    index = read_json(published / INDEX)
    if index is None:
        raise InputError(f"{published} holds no published results (no readable {INDEX}); name a folder in results/")
    archive = index.get("archive")
    if index.get("format") != FORMAT or not isinstance(archive, dict):
        raise InputError(f"{published / INDEX} is of format {index.get('format')}, and this version reads {FORMAT}")
    if not all(isinstance(archive.get(key), int) for key in ("unpacked_bytes", "files")) or "sha256" not in archive:
        raise InputError(f"{published / INDEX} does not tell the archive's hash, files and unpacked_bytes")
    return index


def is_published(path: Path) -> bool:
    """Whether a folder holds published results rather than a store."""
    return (path / INDEX).is_file() and (path / ARCHIVE).is_file()


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """Open a store, or published results as one that is gone afterwards; raises InputError if it is neither."""
    if not is_published(path):
        store = Store(path)
        store.require()
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="wombet-") as folder:
        unpack(path, Path(folder) / "store")
        yield Store(Path(folder) / "store")


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write the index beside its archive."""
    write_atomically(folder / INDEX, pretty_json(index))


def dataset_ids(manifest: dict[str, Any]) -> list[str]:
    """Ids of all datasets that a suite's runs are fed."""
    return sorted({name for cell in manifest["cells"] if cell.get("dataset") for name in cell["dataset"].split("+")})


def _contents(store: Store, manifest: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Paths of the files to pack, and of those that a reader might miss; both relative to the store."""
    files, left_out = [f"suites/{manifest['name']}.json"], []
    for cell in manifest["cells"]:
        folder = str(cell["folder"])
        if not is_claimed(store.run_folder(folder)):
            files += _present(store, folder, RUN_FILES)
            left_out += [*_present(store, folder, (_POLICY,)), *_absent(store, folder)]
    for name in dataset_ids(manifest):
        folder, building = f"datasets/{name}", store.building_folder(name)
        files += _present(store, folder, DATASET_FILES)
        rows = (path for part in _ROWS for path in (store.root / folder / part).rglob("*") if path.is_file())
        left_out += [*(str(path.relative_to(store.root)) for path in rows), *_absent(store, folder)]
        if not is_claimed(building):
            files += _present(store, f"datasets/{building.name}", BUILDING_FILES)
    for name in files:
        if not _MEMBER.fullmatch(name):
            raise InputError(f"the manifest of suite {manifest['name']!r} names {name!r}, which is no path of a store")
    return sorted(set(files)), sorted(set(left_out))


def _present(store: Store, folder: str, names: tuple[str, ...]) -> list[str]:
    return [f"{folder}/{name}" for name in names if (store.root / folder / name).is_file()]


def _absent(store: Store, folder: str) -> list[str]:
    """What an earlier publication had left out of a folder and nobody has computed again."""
    left = (name for name in store.left_out if name.startswith(f"{folder}/"))
    return [name for name in left if not (store.root / name).exists()]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without owner, time or mode of its own."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _extract(path: Path, folder: Path, most_bytes: int, most_files: int) -> None:
    with tempfile.TemporaryFile() as plain:
        with lzma.open(path) as compressed:
            while chunk := compressed.read(_CHUNK):
                plain.write(chunk)
                if plain.tell() > most_bytes:
                    raise InputError(f"{path} unpacks to more than the {most_bytes} bytes of {INDEX}")
        plain.seek(0)
        with tarfile.open(fileobj=plain, mode="r:") as archive:
            members = archive.getmembers()
            _check_members(path, members, most_files)
            archive.extractall(folder, members, filter="data")


def _check_members(path: Path, members: list[tarfile.TarInfo], most_files: int) -> None:
    if len(members) > most_files:
        raise InputError(f"{path} holds {len(members)} files, and {INDEX} tells of {most_files}")
    for member in members:
        if not member.isreg() or member.issparse():
            raise InputError(f"{path} holds {member.name!r}, which is not a plain file; nothing was unpacked")
        if not _MEMBER.fullmatch(member.name):
            raise InputError(f"{path} holds {member.name!r}, which is no file of a store; nothing was unpacked")
