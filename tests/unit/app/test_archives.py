"""Archives are hostile until shown otherwise: each kind is refused in one line, and nothing is left behind."""

import bz2
import io
import os
import struct
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.data import ingest, replacement
from app.data.archives import Member, open_source
from components.core.errors import LesionflowError
from components.runtime.params import ImportLimits
from tests.support.images import encoded, noise

LIMITS = ImportLimits(max_files=50, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
PICTURE = encoded(noise(1))
GOOD = {"nevus/a.jpg": PICTURE}


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**GOOD, **members}.items():
            archive.writestr(zipfile.ZipInfo(name) if compression == zipfile.ZIP_STORED else name, content)
    return path


def zip_of(name: str, content: bytes = PICTURE):
    return lambda folder: zipped(folder / "x.zip", {name: content})


def zip_with_mode(mode: int, content: bytes):
    def make(folder: Path) -> Path:
        item = zipfile.ZipInfo("nevus/link.jpg")
        item.create_system, item.external_attr = 3, mode << 16
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            archive.writestr(item, content)
        return folder / "x.zip"

    return make


def zip_patched(old: bytes, new: bytes, member: str = "nevus/b.jpg", content: bytes = PICTURE):
    """A zip whose bytes were changed afterwards, wherever they occur."""

    def make(folder: Path) -> Path:
        path = zipped(folder / "x.zip", {member: content}, zipfile.ZIP_STORED)
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return make


def encrypted(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {})
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)
    return path


def lying_about_its_size(folder: Path) -> Path:
    """The directory says ten bytes, the member holds more."""
    path = zipped(folder / "x.zip", {"nevus/b.jpg": b"0" * 3000})
    content, at = bytearray(path.read_bytes()), path.read_bytes().rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    return path


def ten_gigabytes_in_ten_kilobytes(folder: Path) -> Path:
    """A hundred names for one run of 100 MB of zeros, which bzip2 packs into a few dozen bytes."""
    packed = bz2.compress(bytes(100_000_000))
    crc = 0x5D0C8D2B
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 46, 0, 12, 0, 0, crc, len(packed), 100_000_000, 5, 0) + b"a.jpg" + packed
    names = [f"nevus/{number}.jpg".encode() for number in range(100)]
    entries = b"".join(
        struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 46, 46, 0, 12, 0, 0, crc, len(packed), 100_000_000, len(name), 0, 0, 0, 0, 0, 0)
        + name
        for name in names
    )
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(names), len(names), len(entries), len(local), 0)
    path = folder / "x.zip"
    path.write_bytes(local + entries + end)
    assert path.stat().st_size < 10_240
    return path


def overlapping(folder: Path) -> Path:
    """Two names for one member's bytes."""
    content = zipped(folder / "x.zip", {}).read_bytes()
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x05\x06")]
    again = entry.replace(b"nevus/a.jpg", b"nevus/b.jpg")
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2, 2, len(entry) * 2, start, 0)
    (folder / "x.zip").write_bytes(content[:start] + entry + again + end)
    return folder / "x.zip"


def truncated(make):
    def cut(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return cut


def tar_of(*items: tuple[tarfile.TarInfo, bytes], mode: str = "w"):
    def make(folder: Path) -> Path:
        path = folder / "x.tar"
        with tarfile.open(path, mode) as archive:
            for item, content in ((tarfile.TarInfo("nevus/a.jpg"), PICTURE), *items):
                if item.isreg():
                    item.size = len(content)
                archive.addfile(item, io.BytesIO(content))
        return path

    return make


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    item = tarfile.TarInfo("nevus/b.jpg")
    item.type, item.linkname = kind, target
    return item


def tar_bomb(folder: Path) -> Path:
    return tar_of((tarfile.TarInfo("nevus/b.jpg"), bytes(15_000_000)), mode="w:bz2")(folder)


def corrupt_gzip(folder: Path) -> Path:
    path = tar_of((tarfile.TarInfo("nevus/b.jpg"), os.urandom(50_000)), mode="w:gz")(folder)
    content = bytearray(path.read_bytes())
    content[20_000:20_050] = bytes(50)
    path.write_bytes(content)
    return path


HOSTILE = {
    "zip-slip": (zip_of("../../nevus/evil.jpg"), "points outside the archive"),
    "zip-slip with backslashes": (zip_of("..\\..\\nevus\\evil.jpg"), "points outside the archive"),
    "absolute name": (zip_of("/etc/nevus/passwd.jpg"), "is an absolute path"),
    "drive letter": (zip_of("C:\\nevus\\evil.jpg"), "is an absolute path"),
    "network share": (zip_of("\\\\server\\share\\nevus\\evil.jpg"), "is an absolute path"),
    "control characters": (zip_of("nevus/a\nb.jpg"), "control characters"),
    "text turned round": (zip_of("nevus/\u202egpj.exe.jpg"), "control characters"),
    "endless name": (zip_of(f"nevus/{'a' * 300}.jpg"), "a name longer than 200 bytes"),
    "names that differ by case": (zip_of("nevus/A.JPG"), "differs from another member only in case"),
    "names that differ by accents": (
        lambda folder: zipped(folder / "x.zip", {"nevus/\u00e9.jpg": PICTURE, "nevus/e\u0301.jpg": PICTURE}),
        "differs from another member only in case or Unicode normalization",
    ),
    "symbolic link in a zip": (zip_with_mode(0o120777, b"/etc/passwd"), "is a link or a device"),
    "device in a zip": (zip_with_mode(0o020666, b""), "is a link or a device"),
    "encrypted": (encrypted, "is encrypted"),
    "archive within": (zip_of("nevus/more.zip", b"PK"), "contains an archive"),
    "too large a file": (zip_of("nevus/b.jpg", os.urandom(17 * 2**20)), "is larger than 16 MB"),
    "too large a whole": (
        lambda folder: zipped(folder / "x.zip", {f"nevus/{n}.jpg": os.urandom(2**20) * 14 for n in range(4)}, zipfile.ZIP_STORED),
        "exceeds the total limit of 0.05 GB",
    ),
    "too many files": (lambda folder: zipped(folder / "x.zip", {f"nevus/{n}.jpg": b"" for n in range(60)}), "more than 50 files"),
    "bomb of 15 MB": (zip_of("nevus/b.jpg", bytes(15_000_000)), "possible archive bomb"),
    "10 GB in 10 KB": (ten_gigabytes_in_ten_kilobytes, "possible archive bomb"),
    "members over each other": (overlapping, "overlaps another member"),
    "a size that lies": (lying_about_its_size, "nothing was imported"),
    "wrong checksum": (zip_patched(PICTURE[100:120], bytes(20)), "cannot be unpacked"),
    "unknown compression": (
        zip_patched(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00"),
        "nothing was imported",
    ),
    "truncated zip": (truncated(zip_of("nevus/b.jpg")), "corrupt or unsupported archive"),
    "empty zip": (lambda folder: zipped_nothing(folder), "contains no image"),
    "no archive": (lambda folder: written(folder / "x.zip", b"hello"), "corrupt or unsupported archive"),
    "no file": (lambda folder: folder / "gone.zip", "does not exist"),
    "link in a tar": (tar_of((special(tarfile.SYMTYPE, "/etc/passwd"), b"")), "is a link or a device"),
    "hard link in a tar": (tar_of((special(tarfile.LNKTYPE, "../../secret"), b"")), "is a link or a device"),
    "device in a tar": (tar_of((special(tarfile.CHRTYPE), b"")), "is a link or a device"),
    "pipe in a tar": (tar_of((special(tarfile.FIFOTYPE), b"")), "is a link or a device"),
    "tar-slip": (tar_of((tarfile.TarInfo("../nevus/evil.jpg"), PICTURE)), "points outside the archive"),
    "the same name twice": (tar_of((tarfile.TarInfo("nevus/a.jpg"), PICTURE)), "occurs twice"),
    "name in an unknown encoding": (tar_of((tarfile.TarInfo("nevus/n\udce4vus.jpg"), PICTURE)), "unknown encoding"),
    "tar bomb": (tar_bomb, "possible archive bomb"),
    "truncated tar": (truncated(tar_of((tarfile.TarInfo("nevus/b.jpg"), PICTURE), mode="w:xz")), "nothing was imported"),
    "corrupt gzip": (corrupt_gzip, "cannot be unpacked"),
}


def zipped_nothing(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w"):
        return folder / "x.zip"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a dataset, without git and DVC: the import is to stop before these matter."""
    root = tmp_path / "project"
    (root / "data/nevus").mkdir(parents=True)
    (root / "data/nevus/old.jpg").write_bytes(PICTURE)
    monkeypatch.chdir(root)
    monkeypatch.setattr(ingest, "require_safe_previous", lambda: None)
    monkeypatch.setattr(replacement, "exclusive", lambda: nullcontext(SimpleNamespace(add=lambda _: None)))
    return root


def tree(root: Path) -> list[str]:
    """Everything in the project but the lock's folder."""
    found = (path.relative_to(root) for path in root.rglob("*"))
    return sorted(path.as_posix() for path in found if path.parts[0] != replacement.locking.LOCK.parts[0])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_and_leaves_nothing(project, tmp_path, name):
    make, said = HOSTILE[name]
    source = tmp_path / "hostile"
    source.mkdir()
    with pytest.raises(LesionflowError, match=said) as refusal:
        list(ingest.import_dataset(make(source), LIMITS))
    assert "\n" not in str(refusal.value)
    assert tree(project) == ["data", "data/nevus", "data/nevus/old.jpg"]
    assert {path.name for path in tmp_path.iterdir()} == {"project", "hostile"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_imported_whatever_its_compression(project, tmp_path, mode):
    source = tar_of((tarfile.TarInfo("raw/Test/Melanoma/b.jpg"), PICTURE[:-1]), mode=mode)(tmp_path)
    said = list(ingest.import_dataset(source, LIMITS))
    assert said[0] == "imported 2 files in 2 of 9 classes:"
    assert tree(project) == ["data", "data/melanoma", "data/melanoma/b.jpg", "data/metadata.csv", "data/nevus", "data/nevus/a.jpg"]
    assert (project / "data/melanoma/b.jpg").read_bytes() == PICTURE[:-1]


def test_two_downloads_in_one_folder_become_one_dataset(project, tmp_path):
    source = tmp_path / "source"
    for name, image in (("ham10000", "ISIC_1.jpg"), ("bcn20000", "ISIC_2.jpg")):
        (source / name / "nevus").mkdir(parents=True)
        (source / name / "nevus" / image).write_bytes(PICTURE)
        (source / name / "metadata.csv").write_text(f"filename,lesion_id\nnevus/{image},L_{name}\n")
        (source / name / "attribution.txt").write_text(f"{name}\n")
    list(ingest.import_dataset(source, LIMITS))
    assert tree(project) == [
        "data", "data/attribution.txt", "data/metadata.csv", "data/nevus", "data/nevus/ISIC_1.jpg", "data/nevus/ISIC_2.jpg"
    ]  # fmt: skip
    assert (project / "data/metadata.csv").read_text() == "filename,lesion_id\nnevus/ISIC_2.jpg,L_bcn20000\nnevus/ISIC_1.jpg,L_ham10000\n"
    assert (project / "data/attribution.txt").read_text() == "bcn20000\n\nham10000\n"


def test_a_table_that_matches_nothing_stops_the_import_before_data_is_replaced(project, tmp_path):
    source = zipped(tmp_path / "x.zip", {"metadata.csv": b"filename,lesion_id\nother.jpg,L1\n"})
    with pytest.raises(LesionflowError, match="none of them is an image of this source"):
        list(ingest.import_dataset(source, LIMITS))
    assert tree(project) == ["data", "data/nevus", "data/nevus/old.jpg"]


def test_a_folder_with_a_link_that_leads_out_is_refused(tmp_path):
    source = tmp_path / "source"
    (source / "nevus").mkdir(parents=True)
    (source / "nevus/a.jpg").symlink_to("/etc/passwd")
    with pytest.raises(LesionflowError, match="is a link to a file outside"):
        open_source(source, LIMITS).members()


def test_zip_members_are_listed_with_their_sizes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("nevus/a.jpg", b"12345")
    assert open_source(tmp_path / "a.zip", LIMITS).members() == [Member("nevus/a.jpg", 5)]


def test_what_is_neither_folder_nor_archive_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(LesionflowError, match="neither a folder nor a zip or tar archive"):
        open_source(tmp_path / "a.txt", LIMITS)


def test_an_interrupted_import_keeps_the_old_dataset_and_carries_on(project, tmp_path, monkeypatch):
    source = zipped(tmp_path / "x.zip", {f"nevus/{number}.jpg": PICTURE + bytes([number]) for number in range(5)})
    copied = []
    plain = ingest.Path.replace

    def replace(self, target):
        if self.name.endswith(".partial") and self.parent.name == "nevus":
            copied.append(Path(target).name)
            if len(copied) == 3:
                raise KeyboardInterrupt
        return plain(self, target)

    monkeypatch.setattr(ingest.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        list(ingest.import_dataset(source, LIMITS))
    assert (project / "data/nevus/old.jpg").exists()
    assert len(list((project / "data").rglob("*.jpg"))) == 1
    again = len(copied) - 1
    list(ingest.import_dataset(source, LIMITS))
    assert len(copied) - again - 1 == 4  # two of six files were there already
    assert tree(project) == ["data", "data/nevus", *sorted(f"data/nevus/{name}.jpg" for name in ("a", *range(5)))]


def test_a_dataset_moved_away_by_a_killed_import_comes_back(project, tmp_path):
    ingest.STAGING.mkdir()
    (project / "data").rename(replacement.PREVIOUS)
    broken = tmp_path / "x.zip"
    lying_about_its_size(tmp_path)
    with pytest.raises(LesionflowError):
        list(ingest.import_dataset(broken, LIMITS))
    assert tree(project) == ["data", "data/nevus", "data/nevus/old.jpg"]
