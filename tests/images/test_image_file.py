"""Files that are broken, hostile or unusual: refused by name, or read as they are meant."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from emo_harness.errors import UserError
from emo_harness.image_file import MAX_BYTES, MAX_PIXELS, open_image, pixels_sha256

RNG = np.random.default_rng(1)
NOISE = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))


def saved(image: Image.Image, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def opened(folder: Path, content: bytes, name: str = "image.png", **budget: int) -> Image.Image:
    path = folder / name
    path.write_bytes(content)
    return open_image(path, **budget)


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand, so that it can say what no writer would."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + body + chunk(b"IEND", b"")


# What is read


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_lossless_image_is_read_to_the_pixel(tmp_path: Path, form: str) -> None:
    content = saved(NOISE, form, lossless=True) if form == "WEBP" else saved(NOISE, form)
    image = opened(tmp_path, content)
    assert image.mode == "RGB"
    assert np.array_equal(image, NOISE)
    assert pixels_sha256(image) == pixels_sha256(NOISE)


def test_identity_is_of_pixels_not_of_files(tmp_path: Path) -> None:
    contents = [
        saved(NOISE, "PNG"),
        saved(NOISE, "PNG", compress_level=0),
        saved(NOISE.convert("RGBA"), "PNG"),
        saved(NOISE, "WEBP", lossless=True),
    ]
    assert len({pixels_sha256(opened(tmp_path, content)) for content in contents}) == 1
    other = NOISE.copy()
    other.putpixel((3, 3), (1, 2, 3))
    turned = NOISE.transpose(Image.Transpose.ROTATE_90)
    assert len({pixels_sha256(one) for one in (NOISE, other, turned)}) == 3
    # The same bytes in another shape are another image.
    flat = Image.frombytes("RGB", (60 * 40, 1), NOISE.tobytes())
    assert pixels_sha256(flat) != pixels_sha256(NOISE)


def test_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    for name in ("image.jpg", "image.webp", "image.txt", "image"):
        assert np.array_equal(opened(tmp_path, saved(NOISE, "PNG"), name), NOISE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_every_mode_of_jpeg_and_png_becomes_rgb(tmp_path: Path, mode: str) -> None:
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    smooth = Image.linear_gradient("L").resize((40, 40)).convert("RGB")
    own = smooth.quantize(256) if mode == "P" else smooth.convert(mode)
    assert own.mode == mode
    image = opened(tmp_path, saved(own, form))
    assert image.mode == "RGB"
    tolerance = {"1": 255, "CMYK": 6, "YCbCr": 6}.get(mode, 2)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(smooth)).max() <= tolerance


def test_cmyk_jpeg_of_a_printing_program_is_not_a_negative(tmp_path: Path) -> None:
    """Adobe stores CMYK inverted, and says so in a marker."""
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red_levels = np.asarray(opened(tmp_path, saved(red, "JPEG", quality=95)))[8, 8]
    assert red_levels[0] > 200
    assert red_levels[1:].max() < 60


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    levels = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    image = opened(tmp_path, saved(Image.fromarray(levels), "PNG"))
    wanted = np.rint(levels / 257).astype(int)
    assert np.array_equal(np.asarray(image)[..., 0], wanted)
    assert np.ptp(np.asarray(image), axis=2).max() == 0


def test_sixteen_bits_of_colour_are_scaled(tmp_path: Path) -> None:
    levels = RNG.integers(0, 65_536, (5, 7, 3)).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in levels)
    image = opened(tmp_path, png(7, 5, 16, 2, rows))
    assert np.abs(np.asarray(image, dtype=float) - levels.astype(float) / 257).max() <= 1


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear, half = (
        Image.new("RGBA", (4, 4), (255, 0, 0, 0)),
        Image.new("RGBA", (4, 4), (0, 0, 0, 128)),
    )
    for form, how in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert opened(tmp_path, saved(clear, form, **how)).getpixel((1, 1)) == (255, 255, 255)
        assert opened(tmp_path, saved(half, form, **how)).getpixel((1, 1)) == (127, 127, 127)


def test_transparent_colours_of_palette_grey_and_rgb_are_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    image = opened(tmp_path, saved(palette, "PNG", transparency=0))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]
    partly = opened(tmp_path, saved(palette, "PNG", transparency=b"\x80\xff"))
    assert partly.getpixel((0, 0)) == (255, 127, 127)
    grey = Image.fromarray(np.array([[7, 9]], dtype=np.uint8))
    image = opened(tmp_path, saved(grey, "PNG", transparency=7))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (9, 9, 9)]
    colour = Image.fromarray(np.array([[[7, 8, 9], [7, 8, 10]]], dtype=np.uint8))
    image = opened(tmp_path, saved(colour, "PNG", transparency=(7, 8, 9)))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (7, 8, 10)]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_grey_of_few_bits_is_white(tmp_path: Path, depth: int) -> None:
    n = 2 ** min(depth, 4)
    bits = "".join(f"{level:0{depth}b}" for level in range(n))
    row = int(bits.ljust(8, "0"), 2).to_bytes(max(len(bits), 8) // 8, "big")
    clear = chunk(b"tRNS", struct.pack(">H", 1))
    image = opened(tmp_path, png(n, 1, depth, 0, b"\x00" + row, clear))
    wanted = [255 if level == 1 else level * 255 // (2**depth - 1) for level in range(n)]
    assert [image.getpixel((x, 0))[0] for x in range(n)] == wanted


def test_transparent_grey_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    levels = np.array([[7, 65_535, 7 * 257]], dtype=">u2")
    clear = chunk(b"tRNS", struct.pack(">H", 7))
    image = opened(tmp_path, png(3, 1, 16, 0, b"\x00" + levels.tobytes(), clear))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [255, 255, 7]


def test_transparent_colour_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    levels = np.array([[[257, 0, 65_535], [257, 0, 0]]], dtype=">u2")
    clear = chunk(b"tRNS", struct.pack(">HHH", 257, 0, 65_535))
    image = opened(tmp_path, png(2, 1, 16, 2, b"\x00" + levels.tobytes(), clear))
    assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (1, 0, 0)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_rotation_that_exif_tells_is_carried_out(
    tmp_path: Path, orientation: int, form: str
) -> None:
    upright = np.zeros((24, 48, 3), dtype=np.uint8)
    upright[:12, :24] = (255, 0, 0)
    # What lies in the file, so that turning as told gives `upright` (EXIF 2.32, tag 274).
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    image = opened(tmp_path, saved(stored, form, exif=exif, quality=95))
    assert image.size == (48, 24)
    assert np.abs(np.asarray(image, dtype=int) - upright).mean() < 8
    # It is not told again, so that saving and opening does not turn it once more.
    assert image.getexif().get(274, 1) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_leaves_the_image_as_it_is_stored_and_warns_of_nothing(
    tmp_path: Path, form: str
) -> None:
    how: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    plain = np.asarray(opened(tmp_path, saved(NOISE, form, **how)))
    exif = Image.Exif()
    exif[274], exif[271], exif[0x8769] = 6, "maker", {0x9000: b"0230", 0x829A: 1.5}
    whole = exif.tobytes()
    turned = np.rot90(plain, -1)
    for seed in range(300):
        rng = np.random.default_rng([3, seed])
        harmed = bytearray(whole)
        for place in rng.integers(6, len(harmed), 3):
            harmed[place] = rng.choice([0, 1, 127, 255])
        image = np.asarray(opened(tmp_path, saved(NOISE, form, exif=bytes(harmed), **how)))
        assert image.size == plain.size
        if image.shape == plain.shape:
            turns = (plain, plain[::-1, ::-1], plain[::-1], plain[:, ::-1])
            assert any(np.array_equal(image, one) for one in turns)
        else:
            turns = (turned, turned[::-1, ::-1], turned[::-1], turned[:, ::-1])
            assert any(np.array_equal(image, one) for one in turns)


@pytest.mark.parametrize("kind", ["XMP", "text"])
def test_rotation_that_is_told_elsewhere_is_carried_out_once(tmp_path: Path, kind: str) -> None:
    if kind == "XMP":
        xmp = b'<x tiff:Orientation="6"/>'
        content = saved(NOISE, "WEBP", lossless=True, xmp=xmp)
    else:
        exif = Image.Exif()
        exif[274] = 6
        hexed = exif.tobytes().hex()
        about = PngImagePlugin.PngInfo()
        about.add_text("Raw profile type exif", f"\nexif\n{len(hexed) // 2:8}\n{hexed}\n")
        content = saved(NOISE, "PNG", pnginfo=about)
    image = opened(tmp_path, content)
    assert np.array_equal(image, np.rot90(NOISE, -1))
    assert image.getexif().get(274, 1) == 1


# What is refused


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_truncated_file_is_refused(tmp_path: Path, form: str, share: float) -> None:
    content = saved(NOISE, form)
    with pytest.raises(UserError, match=r"broken|no PNG"):
        opened(tmp_path, content[: int(share * len(content))])


def test_flipped_bits_never_give_another_error(tmp_path: Path) -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        content = bytearray(saved(NOISE.resize((12, 9)), form))
        for position in range(0, len(content), 3):
            harmed = bytearray(content)
            harmed[position] ^= 0xFF
            try:
                assert opened(tmp_path, bytes(harmed)).mode == "RGB"
            except UserError:
                continue


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_signature_are_refused_or_read(tail: bytes) -> None:
    from emo_harness.image_file import decode_image

    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\x00\x00\x00WEBPVP8 "):
        try:
            assert decode_image(head + tail, doing="trying").mode == "RGB"
        except UserError:
            continue


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_animation_is_refused(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(3)]
    content = saved(frames[0], form, save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="no PNG" if form == "GIF" else "animation"):
        opened(tmp_path, content)


def test_still_image_before_an_animation_is_refused_too(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    content = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    with pytest.raises(UserError, match="animation"):
        opened(tmp_path, content)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP", "PPM", "ICO", "TGA", "PDF", "JPEG2000"])
def test_other_formats_are_refused(tmp_path: Path, form: str) -> None:
    with pytest.raises(UserError, match="no PNG, JPEG or WebP"):
        opened(tmp_path, saved(NOISE, form), "image.png")


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"SIMPLE  =                    T" + b" " * 2850,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"",
        b"\x00" * 100,
        b"push graphic-context\nfill 'url(https://example.org/)'\n",
    ],
    ids=["svg", "fits", "eps", "nothing", "zeros", "mvg"],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="no PNG, JPEG or WebP"):
        opened(tmp_path, content)


@pytest.mark.parametrize("side", [8_000, 30_000, 2**31 - 1])
def test_small_file_with_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int
) -> None:
    content = png(side, side, 8, 2, b"\x00" * 1000)
    assert len(content) < 200
    with pytest.raises(UserError, match=f"at most {MAX_PIXELS:,} pixels"):
        opened(tmp_path, content)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_pixel_budget_counts_for_every_format(tmp_path: Path, form: str) -> None:
    content = saved(NOISE, form)
    assert opened(tmp_path, content, max_pixels=2400).size == (60, 40)
    with pytest.raises(UserError, match="60 x 40 pixels"):
        opened(tmp_path, content, max_pixels=2399)


def test_warning_of_a_bomb_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the budget is above what Pillow warns of."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(UserError, match="far larger"):
        opened(tmp_path, saved(NOISE, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="far larger"):
        opened(tmp_path, saved(NOISE, "PNG"))


def test_byte_budget_counts_before_anything_is_decoded(tmp_path: Path) -> None:
    content = saved(NOISE, "PNG")
    assert opened(tmp_path, content, max_bytes=len(content)).size == NOISE.size
    with pytest.raises(UserError, match="bytes"):
        opened(tmp_path, content, max_bytes=len(content) - 1)
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="33,554,432"):
        open_image(path)


def test_text_that_swells_is_refused(tmp_path: Path) -> None:
    """A compressed text of 80 MB in a file of 80 kB."""
    swollen = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(b"a" * 80_000_000, 9))
    rows = b"".join(b"\x00" + bytes(3) for _ in range(1))
    with pytest.raises(UserError, match="broken"):
        opened(tmp_path, png(1, 1, 8, 2, rows, swollen))


def test_colour_profile_that_swells_does_no_harm(tmp_path: Path) -> None:
    swollen = chunk(b"iCCP", b"profile\x00\x00" + zlib.compress(b"a" * 80_000_000, 9))
    try:
        assert opened(tmp_path, png(1, 1, 8, 2, b"\x00" * 4, swollen)).size == (1, 1)
    except UserError as error:
        assert "broken" in error.found


def test_pixels_that_swell_stop_at_the_size_that_was_told(tmp_path: Path) -> None:
    """A body of 200 MB for an image of one pixel."""
    content = png(1, 1, 8, 2, b"\x00" * 200_000_000)
    try:
        assert opened(tmp_path, content).size == (1, 1)
    except UserError as error:
        assert "broken" in error.found


def test_places_without_a_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder"):
        open_image(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(UserError):
        open_image(tmp_path / ("n" * 300))
    with pytest.raises(UserError):
        open_image(tmp_path / "nul\x00.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="no such file"):
        open_image(tmp_path / "pipe.png")
    with pytest.raises(UserError):
        open_image(Path("/dev/zero"))


def test_nothing_of_pillow_is_left_changed(tmp_path: Path) -> None:
    before = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, tuple(Image.OPEN))
    opened(tmp_path, saved(NOISE, "PNG"))
    assert (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, tuple(Image.OPEN)) == before
