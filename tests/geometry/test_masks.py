"""Masks: one object, several by their numbers or colours, and what is no mask of objects."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from plumbline.errors import InputError
from plumbline.geometry.image_files import read_image
from plumbline.geometry.masks import read_labels

SHAPE = (40, 60)


def numbered(dtype, *numbers) -> np.ndarray:
    """Squares of 10 x 10 pixels with these numbers, side by side."""
    mask = np.zeros(SHAPE, dtype)
    for i, number in enumerate(numbers):
        mask[5:15, 12 * i + 1 : 12 * i + 11] = number
    return mask


def soft(values=(60, 120, 180), whole=255, dtype=np.uint8) -> np.ndarray:
    """One square whose edges fall off in steps of a pixel."""
    mask = np.zeros(SHAPE, dtype)
    for i, value in enumerate((*values, whole)):
        mask[5 + i : 35 - i, 10 + i : 50 - i] = value
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32])
def test_each_number_is_an_object(dtype):
    large = {"u1": 200, "u2": 40_000}.get(np.dtype(dtype).str[1:], 70_000)
    mask = numbered(dtype, 7, large, 3)
    found = read_labels(mask, SHAPE, "d.png")
    assert found.numbers == (3, 7, large)
    for i, number in enumerate(found.numbers):
        np.testing.assert_array_equal(found.places == i + 1, mask == number)


@pytest.mark.parametrize("mask", [
    numbered(bool, True, True), numbered(np.float64, 0.5, 0.75),
])  # fmt: skip
def test_a_mask_without_numbers_is_one_object(mask):
    found = read_labels(mask, SHAPE, "d.png")
    assert found.numbers == (1,)
    np.testing.assert_array_equal(found.places > 0, mask != 0)


def test_soft_edges_belong_to_their_object():
    """Of few grey levels, and of more than there are objects."""
    found = read_labels(soft(), SHAPE, "d.png")
    assert found.numbers == (255,)
    np.testing.assert_array_equal(found.places == 1, soft() > 0)
    noise = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    many = read_labels(noise, SHAPE, "d.png")
    assert many.numbers == (1,)
    np.testing.assert_array_equal(many.places == 1, noise > 0)


def test_a_sliver_next_to_whole_objects_is_an_object():
    mask = numbered(np.uint8, 1, 2)
    mask[20, 3:30] = 5
    assert read_labels(mask, SHAPE, "d.png").numbers == (1, 2, 5)


def blended() -> np.ndarray:
    mask = numbered(np.uint8, 100, 200)
    for i, value in enumerate((40, 60, 80)):
        mask[5:15, 40 + i] = value
    return mask


@pytest.mark.parametrize(("mask", "said"), [
    (np.zeros(SHAPE), "the mask is empty, 0 everywhere"),
    (np.ones((40, 61)), "has shape [40, 60], the mask [40, 61]; give a mask of the same camera and size"),
    (np.ones((*SHAPE, 3)), "has shape [40, 60], the mask [40, 60, 3]"),
    (np.full(SHAPE, "a"), "a mask is [H, W] numbers"),
    (np.where(numbered(bool, 1), np.nan, 0), "numbers that are not finite"),
    (numbered(np.int32, 1, -1), "the mask has negative numbers"),
    (np.arange(2400).reshape(SHAPE).astype(np.uint16), "2,399 different numbers, as a depth image has"),
    (blended(), "3 of the 5 numbers in the mask (40, 60, 80) are lines or specks"),
    (soft(dtype=np.uint16), "3 of the 4 numbers in the mask (60, 120, 180) are lines or specks"),
])  # fmt: skip
def test_what_is_no_mask_is_refused(mask, said):
    with pytest.raises(InputError) as caught:
        read_labels(mask, SHAPE, "d.png")
    assert said in str(caught.value)
    assert str(caught.value).startswith("d.png: ")
    assert "\n" not in str(caught.value)


def test_a_sliver_is_no_soft_edge():
    """Soft edges are darker than their object, and touch it or each other."""
    for sliver in (2, 5):
        mask = numbered(np.uint8, 3)
        mask[20, 3:30] = sliver
        assert read_labels(mask, SHAPE, "d.png").numbers == (min(sliver, 3), max(sliver, 3))


# --------------------------------------------------------------------------------------- many instances


def many(number, size=10, dtype=np.uint8) -> np.ndarray:
    """Squares side by side with the numbers from 1."""
    columns = 15
    mask = np.zeros((-(-number // columns) * (size + 2), columns * (size + 2)), dtype)
    for i in range(number):
        row, column = divmod(i, columns)
        mask[row * (size + 2) :, column * (size + 2) :][:size, :size] = i + 1
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32])
def test_many_numbers_that_fill_areas_are_objects_and_a_note_says_so(dtype):
    mask = many(120, dtype=dtype)
    found = read_labels(mask, mask.shape, "d.png")
    assert found.numbers == tuple(range(1, 121))
    np.testing.assert_array_equal(found.places, mask)
    assert found.notes == ("the mask has 120 different numbers that fill areas: each is an object",)


def drawn(*levels, mode="L", size=(640, 480)) -> Image.Image:
    """Discs in a picture, side by side."""
    picture = Image.new(mode, size)
    pen, step = ImageDraw.Draw(picture), size[0] // 4
    for i, level in enumerate(levels):
        pen.ellipse((step * i + step // 8, size[1] // 8, step * i + step, size[1] * 7 // 8), fill=level)
    return picture


def jpeg(picture: Image.Image) -> np.ndarray:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=50)
    return np.asarray(Image.open(held))


def resized(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((640, 480), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("mask", [jpeg(drawn(255)), resized(drawn(255, size=(2560, 1920)))])
def test_many_grey_levels_of_one_object_are_its_soft_edges_and_a_note_says_so(mask):
    levels = len(np.unique(mask)) - 1
    assert levels > 64
    found = read_labels(mask, mask.shape, "d.png")
    assert found.numbers == (255,)
    np.testing.assert_array_equal(found.places == 1, mask > 0)
    assert found.notes == (f"the mask has {levels} levels, taken for one object with soft edges",)


# ---------------------------------------------------------------------------------------------- colours

RED, GREEN, DARK, WHITE = (255, 0, 0), (0, 255, 0), (64, 0, 0), (255, 255, 255)


@pytest.mark.parametrize("opacity", [False, True])
def test_each_colour_is_an_object_numbered_as_in_panoptic_masks(opacity):
    mask = np.asarray(drawn(RED, GREEN, DARK, WHITE, mode="RGB"))
    given = np.dstack([mask, np.zeros(mask.shape[:2], np.uint8)]) if opacity else mask
    found = read_labels(given, mask.shape[:2], "d.png")
    assert found.numbers == (64, 255, 65280, 16777215)
    for i, colour in enumerate((DARK, RED, GREEN, WHITE)):
        np.testing.assert_array_equal(found.places == i + 1, (mask == colour).all(axis=2))
    assert found.notes == (
        "each colour of the mask is an object, numbered R + 256 G + 65536 B: #400000 is 64, #ff0000 is 255, "
        "#00ff00 is 65280, #ffffff is 16777215",
    )


def test_what_is_transparent_is_not_on_an_object():
    mask = np.full((*SHAPE, 4), 255, np.uint8)
    mask[..., 3] = numbered(np.uint8, 255)
    found = read_labels(mask, SHAPE, "d.png")
    np.testing.assert_array_equal(found.places == 1, numbered(bool, True))


def test_grey_colours_are_grey_levels_and_shades_of_one_colour_its_soft_edges():
    grey = np.dstack([numbered(np.uint8, 3, 9)] * 3)
    assert read_labels(grey, SHAPE, "d.png").numbers == (3, 9)
    shades = np.asarray(
        drawn(RED, mode="RGB", size=(1280, 960)).resize((640, 480), Image.Resampling.BILINEAR)
    )
    found = read_labels(shades, shades.shape[:2], "d.png")
    assert found.numbers == (255,)
    np.testing.assert_array_equal(found.places == 1, shades[..., 0] > 0)


def blended_colours() -> np.ndarray:
    """Two squares, and lines of other colours."""
    mask = np.dstack([numbered(np.uint8, 255, 0), numbered(np.uint8, 0, 255), np.zeros(SHAPE, np.uint8)])
    for i in range(7):
        mask[20 + 2 * i, :, 0] = 4 + i
    return mask


@pytest.mark.parametrize(("mask", "said"), [
    (jpeg(drawn(RED, GREEN, mode="RGB")), r"the mask has \S+ different colours, as a photograph has or"),
    (blended_colours(), r"7 of the 9 colours in the mask \(#040000, .* are lines or specks"),
])  # fmt: skip
def test_colours_that_fill_no_areas_are_refused(mask, said):
    with pytest.raises(InputError, match=said):
        read_labels(mask, mask.shape[:2], "d.png")


def test_pictures_of_colours_and_palettes(tmp_path):
    drawn(RED, GREEN, mode="RGB").save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", "mask")
    assert read_labels(read, read.shape[:2], "d.png").numbers == (255, 65280)
    palette = drawn(1, 2, mode="P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png", "mask"), np.asarray(drawn(1, 2)))
    palette.putpalette([128, 0, 0, 0, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "c.png")
    read = read_image(tmp_path / "c.png", "mask")
    found = read_labels(read, read.shape[:2], "d.png")
    assert found.numbers == (128, 32768)
    np.testing.assert_array_equal(found.places == 0, np.asarray(drawn(1, 2)) == 1)


def png(rows: np.ndarray, bits: int, colour: int) -> bytes:
    """A PNG of rows of bytes, which Pillow does not write with these bits and kind of colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    width = rows.shape[1] * 8 // (bits * channels)
    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    content = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each row begins with its filter, none
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_a_picture_of_16_bits_for_each_colour_is_refused(tmp_path, colour):
    """Pillow reads the upper 8 bits alone: objects 1 to 255 would be none, and 256 and 300 one."""
    channels = {2: 3, 4: 2, 6: 4}[colour]
    mask = np.repeat(numbered(np.dtype(">u2"), 300, 301)[..., None], channels, axis=2)
    (tmp_path / "m.png").write_bytes(png(mask.reshape(SHAPE[0], -1).view(np.uint8), 16, colour))
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "m.png", "mask")
    assert str(caught.value) == (
        f"--mask {tmp_path / 'm.png'}: a picture of 16 bits for each colour, of which only 8 can be read "
        "here; save numbers of objects in one channel of 16 bits, or colours with 8 bits each"
    )


def test_one_channel_of_16_bits_keeps_its_numbers(tmp_path):
    mask = numbered(np.dtype(">u2"), 300, 301)
    (tmp_path / "m.png").write_bytes(png(mask.view(np.uint8), 16, 0))
    np.testing.assert_array_equal(read_image(tmp_path / "m.png", "mask"), mask)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_picture_of_a_few_bits_keeps_its_numbers(tmp_path, bits):
    """Pillow spreads them over 8 bits."""
    mask = numbered(np.uint8, 1, 3, 2)
    packed = sum(mask[:, i :: 8 // bits] << (8 - bits * (i + 1)) for i in range(8 // bits))
    (tmp_path / "m.png").write_bytes(png(packed.astype(np.uint8), bits, 0))
    np.testing.assert_array_equal(read_image(tmp_path / "m.png", "mask"), mask)
