import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from components.data_quality import scan
from tests.support.images import encoded, noise


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for number in range(5):
        noise(number).save(root / f"{number}.png")
    return root


def file_names(root):
    return sorted(path.name for path in root.iterdir())


def test_scan_returns_hashes_size_and_thumbnail(folder, tmp_path):
    result = scan.scan(folder, file_names(folder), tmp_path / "cache")
    row = result.table.iloc[0]
    assert row["path"] == "0.png"
    assert row["bytes"] == (folder / "0.png").stat().st_size
    assert row["sha256"] == hashlib.sha256((folder / "0.png").read_bytes()).hexdigest()
    assert row["pixels_sha256"] == hashlib.sha256(b"(64, 64, 3)" + np.asarray(noise(0)).tobytes()).hexdigest()
    assert (row["width"], row["height"], row["format"], row["mode"], row["orientation"], row["fault"]) == (64, 64, "PNG", "RGB", 1, "")
    assert result.thumbnails.shape == (5, scan.THUMBNAIL_SIZE, scan.THUMBNAIL_SIZE)
    assert result.decoded == 5


def test_scan_decodes_only_new_content(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    before = scan.scan(folder, file_names(folder), cache)
    (folder / "0.png").rename(folder / "moved.png")
    shutil.copy(folder / "1.png", folder / "copy.png")
    for number in range(10, 13):
        noise(number).save(folder / f"{number}.png")
    after = scan.scan(folder, file_names(folder), cache)
    assert after.decoded == 3
    assert after.table["path"].tolist() == file_names(folder)
    rows = after.table.set_index("path")
    assert rows.loc["moved.png", "pixels_sha256"] == before.table["pixels_sha256"].iloc[0]
    assert rows.loc["copy.png", "sha256"] == rows.loc["1.png", "sha256"]
    assert scan.scan(folder, file_names(folder), cache).decoded == 0
    monkeypatch.setattr(scan, "_version", lambda: "another")
    assert scan.scan(folder, file_names(folder), cache).decoded == 8
    assert [path.name for path in cache.iterdir()] == ["another.parquet"]


def test_cached_scan_equals_fresh_scan(folder, tmp_path):
    (folder / "bad.png").write_bytes(b"no image")
    fresh = scan.scan(folder, file_names(folder), tmp_path / "cache")
    cached = scan.scan(folder, file_names(folder), tmp_path / "cache")
    assert cached.decoded == 0
    assert fresh.table.equals(cached.table)
    assert (fresh.thumbnails == cached.thumbnails).all()


def screenshot():
    image = Image.new("RGB", (200, 150), (250, 250, 250))
    image.paste(noise(1, 60), (10, 10))
    return image


def test_scan_distinguishes_flat_color_from_dark_corners():
    vignetted = Image.new("RGB", (200, 200))
    vignetted.paste(noise(2, 120), (40, 40))
    table = scan.table_of(
        [scan.scan_file(content, "") for content in (encoded(screenshot(), "PNG"), encoded(vignetted, "PNG"), encoded(noise(3)))]
    )
    assert table["one_colour"].iloc[0] > 0.8
    assert table["one_colour"].iloc[1:].max() < 0.1
    assert table["colourfulness"].iloc[2] > 20


def test_scan_reports_fault_of_unreadable_file(folder, tmp_path):
    (folder / "bad.png").write_bytes(encoded(noise(1), "PNG")[:100])
    result = scan.scan(folder, file_names(folder), tmp_path / "cache")
    assert result.table["fault"].tolist()[-1].startswith("truncated")
    assert result.thumbnails[-1].max() == 0


def test_scan_of_no_files_returns_empty_table(tmp_path):
    result = scan.scan(tmp_path, [], tmp_path / "cache")
    assert len(result.table) == 0
    assert result.thumbnails.shape == (0, scan.THUMBNAIL_SIZE, scan.THUMBNAIL_SIZE)


def test_scan_reads_multi_picture_jpeg_as_jpeg(folder, tmp_path):
    noise(6).save(folder / "phone.jpg", "MPO", save_all=True, append_images=[noise(7)])
    row = scan.scan(folder, ["phone.jpg"], tmp_path / "cache").table.iloc[0]
    assert (row["fault"], row["format"], row["mode"]) == ("", "JPEG", "RGB")


def test_scan_hashes_16_bit_gray_like_8_bit_gray(folder, tmp_path):
    gray = noise(8).convert("L")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(folder / "deep.png")
    gray.save(folder / "plain.png")
    rows = scan.scan(folder, ["deep.png", "plain.png"], tmp_path / "cache").table
    assert rows["mode"].tolist() == ["I;16", "L"]
    assert rows["pixels_sha256"].nunique() == 1
