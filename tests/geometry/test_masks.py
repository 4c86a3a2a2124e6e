"""Masks: one object, several by their numbers, and what is no mask of objects."""

import numpy as np
import pytest

from plumbline.errors import InputError
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
    (np.ones((40, 61)), "has shape [40, 60], the mask [40, 61]; they must be of the same camera and size"),
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


def test_a_sliver_next_to_one_whole_object_is_no_soft_edge():
    """Soft edges are darker than their object."""
    mask = numbered(np.uint8, 3)
    mask[20, 3:30] = 5
    assert read_labels(mask, SHAPE, "d.png").numbers == (3, 5)
