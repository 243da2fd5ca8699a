"""Archives are untrusted input: import rejects unsafe ones with a one-line message and leaves no files behind."""

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
from tests.support.project import ROOT

LIMITS = ImportLimits(max_files=50, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
IMAGE = encoded(noise(1))
VALID_MEMBERS = {"nevus/a.jpg": IMAGE}


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**VALID_MEMBERS, **members}.items():
            archive.writestr(zipfile.ZipInfo(name) if compression == zipfile.ZIP_STORED else name, content)
    return path


def zip_with_member(name: str, content: bytes = IMAGE):
    return lambda folder: write_zip(folder / "x.zip", {name: content})


def zip_with_mode(mode: int, content: bytes):
    def make(folder: Path) -> Path:
        member = zipfile.ZipInfo("nevus/link.jpg")
        member.create_system, member.external_attr = 3, mode << 16
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            archive.writestr(member, content)
        return folder / "x.zip"

    return make


def patched_zip(old: bytes, new: bytes, member: str = "nevus/b.jpg", content: bytes = IMAGE):
    """A zip in which every occurrence of `old` is replaced by `new`."""

    def make(folder: Path) -> Path:
        path = write_zip(folder / "x.zip", {member: content}, zipfile.ZIP_STORED)
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return make


def encrypted_zip(folder: Path) -> Path:
    path = write_zip(folder / "x.zip", {})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def zip_with_wrong_size(folder: Path) -> Path:
    """The central directory states ten bytes; the member contains more."""
    path = write_zip(folder / "x.zip", {"nevus/b.jpg": b"0" * 3000})
    content, offset = bytearray(path.read_bytes()), path.read_bytes().rindex(b"PK\x01\x02")
    content[offset + 24 : offset + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    return path


def zip_bomb_of_10_gb(folder: Path) -> Path:
    """One hundred entries that share 100 MB of zeros, which bzip2 compresses to a few dozen bytes."""
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


def overlapping_zip(folder: Path) -> Path:
    """Two entries that share the bytes of one member."""
    content = write_zip(folder / "x.zip", {}).read_bytes()
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x05\x06")]
    second_entry = entry.replace(b"nevus/a.jpg", b"nevus/b.jpg")
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2, 2, len(entry) * 2, start, 0)
    (folder / "x.zip").write_bytes(content[:start] + entry + second_entry + end)
    return folder / "x.zip"


def truncated(make):
    def make_truncated(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return make_truncated


def tar_with_members(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w"):
    def make(folder: Path) -> Path:
        path = folder / "x.tar"
        with tarfile.open(path, mode) as archive:
            for member, content in ((tarfile.TarInfo("nevus/a.jpg"), IMAGE), *members):
                if member.isreg():
                    member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return make


def special_member(member_type: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo("nevus/b.jpg")
    member.type, member.linkname = member_type, target
    return member


def tar_bomb(folder: Path) -> Path:
    return tar_with_members((tarfile.TarInfo("nevus/b.jpg"), bytes(15_000_000)), mode="w:bz2")(folder)


def corrupt_gzip(folder: Path) -> Path:
    path = tar_with_members((tarfile.TarInfo("nevus/b.jpg"), os.urandom(50_000)), mode="w:gz")(folder)
    content = bytearray(path.read_bytes())
    content[20_000:20_050] = bytes(50)
    path.write_bytes(content)
    return path


UNSAFE_ARCHIVES = {
    "zip-slip": (zip_with_member("../../nevus/evil.jpg"), "points outside the archive"),
    "zip-slip with backslashes": (zip_with_member("..\\..\\nevus\\evil.jpg"), "points outside the archive"),
    "absolute name": (zip_with_member("/etc/nevus/passwd.jpg"), "is an absolute path"),
    "drive letter": (zip_with_member("C:\\nevus\\evil.jpg"), "is an absolute path"),
    "network share": (zip_with_member("\\\\server\\share\\nevus\\evil.jpg"), "is an absolute path"),
    "control characters": (zip_with_member("nevus/a\nb.jpg"), "control characters"),
    "right-to-left override": (zip_with_member("nevus/\u202egpj.exe.jpg"), "control characters"),
    "name too long": (zip_with_member(f"nevus/{'a' * 300}.jpg"), "a name longer than 200 bytes"),
    "names that differ only in case": (zip_with_member("nevus/A.JPG"), "differs from another member only in case"),
    "names that differ only in Unicode normalization": (
        lambda folder: write_zip(folder / "x.zip", {"nevus/\u00e9.jpg": IMAGE, "nevus/e\u0301.jpg": IMAGE}),
        "differs from another member only in case or Unicode normalization",
    ),
    "symbolic link in a zip": (zip_with_mode(0o120777, b"/etc/passwd"), "is a link or a device"),
    "device in a zip": (zip_with_mode(0o020666, b""), "is a link or a device"),
    "encrypted": (encrypted_zip, "is encrypted"),
    "nested archive": (zip_with_member("nevus/more.zip", b"PK"), "contains an archive"),
    "file too large": (zip_with_member("nevus/b.jpg", os.urandom(17 * 2**20)), "is larger than 16 MB"),
    "archive too large": (
        lambda folder: write_zip(folder / "x.zip", {f"nevus/{n}.jpg": os.urandom(2**20) * 14 for n in range(4)}, zipfile.ZIP_STORED),
        "exceeds the total limit of 0.05 GB",
    ),
    "too many files": (lambda folder: write_zip(folder / "x.zip", {f"nevus/{n}.jpg": b"" for n in range(60)}), "more than 50 files"),
    "bomb of 15 MB": (zip_with_member("nevus/b.jpg", bytes(15_000_000)), "possible archive bomb"),
    "10 GB in 10 KB": (zip_bomb_of_10_gb, "possible archive bomb"),
    "overlapping members": (overlapping_zip, "overlaps another member"),
    "wrong size": (zip_with_wrong_size, "nothing was imported"),
    "wrong checksum": (patched_zip(IMAGE[100:120], bytes(20)), "cannot be unpacked"),
    "unknown compression": (
        patched_zip(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00"),
        "nothing was imported",
    ),
    "truncated zip": (truncated(zip_with_member("nevus/b.jpg")), "corrupt or unsupported archive"),
    "empty zip": (lambda folder: empty_zip(folder), "contains no image"),
    "not an archive": (lambda folder: write_file(folder / "x.zip", b"hello"), "corrupt or unsupported archive"),
    "missing file": (lambda folder: folder / "gone.zip", "does not exist"),
    "link in a tar": (tar_with_members((special_member(tarfile.SYMTYPE, "/etc/passwd"), b"")), "is a link or a device"),
    "hard link in a tar": (tar_with_members((special_member(tarfile.LNKTYPE, "../../secret"), b"")), "is a link or a device"),
    "device in a tar": (tar_with_members((special_member(tarfile.CHRTYPE), b"")), "is a link or a device"),
    "pipe in a tar": (tar_with_members((special_member(tarfile.FIFOTYPE), b"")), "is a link or a device"),
    "tar-slip": (tar_with_members((tarfile.TarInfo("../nevus/evil.jpg"), IMAGE)), "points outside the archive"),
    "duplicate name": (tar_with_members((tarfile.TarInfo("nevus/a.jpg"), IMAGE)), "occurs twice"),
    "name in an unknown encoding": (tar_with_members((tarfile.TarInfo("nevus/n\udce4vus.jpg"), IMAGE)), "unknown encoding"),
    "tar bomb": (tar_bomb, "possible archive bomb"),
    "truncated tar": (truncated(tar_with_members((tarfile.TarInfo("nevus/b.jpg"), IMAGE), mode="w:xz")), "nothing was imported"),
    "corrupt gzip": (corrupt_gzip, "cannot be unpacked"),
}


def empty_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w"):
        return folder / "x.zip"


def write_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a dataset but without git and DVC, which these imports do not reach."""
    root = tmp_path / "project"
    (root / "data/nevus").mkdir(parents=True)
    (root / "data/nevus/old.jpg").write_bytes(IMAGE)
    (root / "labels").symlink_to(ROOT / "labels")
    monkeypatch.chdir(root)
    monkeypatch.setattr(ingest, "require_safe_previous", lambda: None)
    monkeypatch.setattr(replacement, "exclusive", lambda: nullcontext(SimpleNamespace(add=lambda _: None)))
    return root


def project_paths(root: Path) -> list[str]:
    """All paths in the project except the folder of the lock and the label sets."""
    paths = (path.relative_to(root) for path in root.rglob("*"))
    return sorted(path.as_posix() for path in paths if path.parts[0] not in (replacement.locking.LOCK.parts[0], "labels"))


@pytest.mark.parametrize("name", UNSAFE_ARCHIVES)
def test_import_rejects_unsafe_archive_without_side_effects(project, tmp_path, name):
    make, message = UNSAFE_ARCHIVES[name]
    source = tmp_path / "archives"
    source.mkdir()
    with pytest.raises(LesionflowError, match=message) as error:
        list(ingest.import_dataset(make(source), LIMITS))
    assert "\n" not in str(error.value)
    assert project_paths(project) == ["data", "data/nevus", "data/nevus/old.jpg"]
    assert {path.name for path in tmp_path.iterdir()} == {"project", "archives"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_import_accepts_tar_with_any_compression(project, tmp_path, mode):
    source = tar_with_members((tarfile.TarInfo("raw/Test/Melanoma/b.jpg"), IMAGE[:-1]), mode=mode)(tmp_path)
    lines = list(ingest.import_dataset(source, LIMITS))
    assert lines[-1] == "imported 2 files in 2 classes"
    assert project_paths(project) == [
        "data",
        "data/dataset.yaml",
        "data/melanoma",
        "data/melanoma/b.jpg",
        "data/metadata.csv",
        "data/nevus",
        "data/nevus/a.jpg",
    ]
    assert (project / "data/melanoma/b.jpg").read_bytes() == IMAGE[:-1]


def test_import_merges_two_downloads_in_one_folder(project, tmp_path):
    source = tmp_path / "source"
    for name, image in (("ham10000", "ISIC_1.jpg"), ("bcn20000", "ISIC_2.jpg")):
        (source / name / "nevus").mkdir(parents=True)
        (source / name / "nevus" / image).write_bytes(IMAGE)
        (source / name / "metadata.csv").write_text(f"filename,lesion_id\nnevus/{image},L_{name}\n")
        (source / name / "attribution.txt").write_text(f"{name}\n")
    list(ingest.import_dataset(source, LIMITS))
    assert project_paths(project) == [
        "data", "data/attribution.txt", "data/dataset.yaml", "data/metadata.csv",
        "data/nevus", "data/nevus/ISIC_1.jpg", "data/nevus/ISIC_2.jpg"
    ]  # fmt: skip
    rows = "nevus/ISIC_2.jpg,source:L_bcn20000\nnevus/ISIC_1.jpg,source:L_ham10000\n"
    assert (project / "data/metadata.csv").read_text() == f"filename,lesion_id\n{rows}"
    assert (project / "data/attribution.txt").read_text() == "bcn20000\n\nham10000\n"


def test_import_keeps_dataset_when_metadata_matches_no_image(project, tmp_path):
    source = write_zip(tmp_path / "x.zip", {"metadata.csv": b"filename,lesion_id\nother.jpg,L1\n"})
    with pytest.raises(LesionflowError, match="none of them is an image of this source"):
        list(ingest.import_dataset(source, LIMITS))
    assert project_paths(project) == ["data", "data/nevus", "data/nevus/old.jpg"]


def test_open_source_rejects_symlink_out_of_folder(tmp_path):
    source = tmp_path / "source"
    (source / "nevus").mkdir(parents=True)
    (source / "nevus/a.jpg").symlink_to("/etc/passwd")
    with pytest.raises(LesionflowError, match="is a link to a file outside"):
        open_source(source, LIMITS).members()


def test_zip_source_lists_members_with_sizes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("nevus/a.jpg", b"12345")
    assert open_source(tmp_path / "a.zip", LIMITS).members() == [Member("nevus/a.jpg", 5)]


def test_open_source_rejects_file_that_is_not_an_archive(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(LesionflowError, match="neither a folder nor a zip or tar archive"):
        open_source(tmp_path / "a.txt", LIMITS)


def test_interrupted_import_keeps_dataset_and_resumes(project, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "x.zip", {f"nevus/{number}.jpg": IMAGE + bytes([number]) for number in range(5)})
    copied = []
    original_replace = ingest.Path.replace

    def replace(self, target):
        if self.name.endswith(".partial") and self.parent.name == "nevus":
            copied.append(Path(target).name)
            if len(copied) == 3:
                raise KeyboardInterrupt
        return original_replace(self, target)

    monkeypatch.setattr(ingest.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        list(ingest.import_dataset(source, LIMITS))
    assert (project / "data/nevus/old.jpg").exists()
    assert len(list((project / "data").rglob("*.jpg"))) == 1
    copied_before_interruption = len(copied) - 1
    list(ingest.import_dataset(source, LIMITS))
    assert len(copied) - copied_before_interruption - 1 == 4  # two of six files were copied before the interruption
    assert project_paths(project) == [
        "data",
        "data/dataset.yaml",
        "data/nevus",
        *sorted(f"data/nevus/{name}.jpg" for name in ("a", *range(5))),
    ]


def test_import_restores_dataset_moved_by_killed_import(project, tmp_path):
    ingest.STAGING.mkdir()
    (project / "data").rename(replacement.PREVIOUS)
    broken_archive = tmp_path / "x.zip"
    zip_with_wrong_size(tmp_path)
    with pytest.raises(LesionflowError):
        list(ingest.import_dataset(broken_archive, LIMITS))
    assert project_paths(project) == ["data", "data/nevus", "data/nevus/old.jpg"]
