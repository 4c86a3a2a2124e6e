"""The split never separates samples of one object and never moves an object without need."""

import numpy as np
import pytest

from plumbline.data.split import group_of, split_by_object, split_samples
from plumbline.errors import InputError

NAMES = [f"mug/{i:04d}" for i in range(500)]


GOLDEN = ["mug/0017", "mug/0019", "mug/0021", "mug/0023"]


def sides(names, object_idx, val_split=0.1, seed=0):
    train, val = split_by_object(np.asarray(object_idx), names, val_split, seed)
    return {names[object_idx[i]] for i in train}, {names[object_idx[i]] for i in val}


def test_no_object_on_both_sides_and_every_sample_once():
    object_idx = np.repeat(np.arange(500), 3)[np.random.default_rng(0).permutation(1500)]
    train, val = split_by_object(object_idx, NAMES, 0.1, 0)
    assert not set(object_idx[train]) & set(object_idx[val])
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(1500))
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()


def test_golden_validation_objects():
    """Old data sets must keep their split in every later version."""
    _, val = sides(NAMES[:40], np.arange(40))
    assert sorted(val) == GOLDEN


@pytest.mark.parametrize("val_split", [0.05, 0.1, 0.5, 0.9])
def test_fraction_is_near_what_was_asked(val_split):
    _, val = sides(NAMES, np.arange(500), val_split)
    assert abs(len(val) / 500 - val_split) < 4 * np.sqrt(val_split * (1 - val_split) / 500)


def test_order_of_files_does_not_matter():
    order = np.random.default_rng(1).permutation(500)
    shuffled = [NAMES[i] for i in order]
    assert sides(NAMES, np.arange(500)) == sides(shuffled, np.arange(500))


def test_added_objects_move_no_old_one():
    train, val = sides(NAMES[:300], np.arange(300))
    more_train, more_val = sides(NAMES, np.arange(500))
    assert train <= more_train
    assert val <= more_val


def test_larger_fraction_keeps_those_that_validated():
    assert sides(NAMES, np.arange(500), 0.1)[1] < sides(NAMES, np.arange(500), 0.2)[1]


def test_seed_gives_another_split():
    assert sides(NAMES, np.arange(500), seed=0) != sides(NAMES, np.arange(500), seed=1)


@pytest.mark.parametrize("val_split", [1e-9, 1 - 1e-9])
@pytest.mark.parametrize("names", [NAMES[:2], NAMES[:7], NAMES[6::-1]])
def test_no_side_is_ever_empty_and_the_rule_ignores_order(val_split, names):
    train, val = sides(names, np.arange(len(names)), val_split)
    assert min(len(train), len(val)) == 1
    assert sides(names[::-1], np.arange(len(names)), val_split) == (train, val)


def test_names_without_samples_do_not_count():
    train, val = sides(NAMES[:50], np.array([3, 3, 8]), 1e-9)
    assert train | val == {NAMES[3], NAMES[8]}
    assert len(val) == 1


@pytest.mark.parametrize("object_idx", [[0, 0, 0], []])
def test_fewer_than_two_objects_is_refused(object_idx):
    with pytest.raises(InputError, match="at least two"):
        split_by_object(np.array(object_idx, int), NAMES[:1], 0.1, 0)


@pytest.mark.parametrize("val_split", [0.0, 1.0, -1.0, float("nan")])
def test_impossible_fractions_are_refused(val_split):
    with pytest.raises(InputError, match="--val_split"):
        split_by_object(np.arange(2), NAMES[:2], val_split, 0)


def test_names_that_are_not_unicode_are_accepted():
    sides(["caf\udce9", "b"], np.arange(2))


# --- by group


FAMILIES = [f"solids/{family}/{i:03d}" for family in map(chr, range(97, 123)) for i in range(9)] + [
    "loose",
    "x",
]


def group_sides(names, val_split=0.2, seed=0):
    train, val = split_samples(np.arange(len(names)), names, val_split, seed, "group")
    return {names[i] for i in train}, {names[i] for i in val}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("solids/gear/000017", "solids/gear"),
        ("ycb/mug", "ycb"),
        ("mug", "mug"),
        ("/mug", "/mug"),
        ("a//b", "a/"),
    ],
)
def test_a_group_is_the_name_before_the_last_slash(name, group):
    assert group_of(name) == group


@pytest.mark.parametrize("seed", range(5))
def test_no_group_on_both_sides_and_every_sample_once(seed):
    train, val = group_sides(FAMILIES, seed=seed)
    assert not {group_of(name) for name in train} & {group_of(name) for name in val}
    assert train | val == set(FAMILIES)
    assert len(train) + len(val) == len(FAMILIES)
    assert 0.02 < len(val) / len(FAMILIES) < 0.5
    assert group_sides(FAMILIES[::-1], seed=seed) == (train, val)


def test_more_objects_and_groups_move_no_old_group():
    train, val = group_sides(FAMILIES)
    more = [*FAMILIES, "solids/a/999", "other/1", "other/2"]
    assert train <= group_sides(more)[0]
    assert val <= group_sides(more)[1]


def test_objects_without_a_slash_are_divided_as_by_object():
    names = [name.replace("/", "_") for name in NAMES]
    idx = np.repeat(np.arange(500), 2)
    for one, other in zip(
        split_samples(idx, names, 0.1, 3, "group"), split_by_object(idx, names, 0.1, 3), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_by_object_is_the_old_split():
    idx = np.repeat(np.arange(500), 2)
    for one, other in zip(
        split_samples(idx, NAMES, 0.1, 0, "object"), split_by_object(idx, NAMES, 0.1, 0), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_one_group_cannot_be_divided():
    with pytest.raises(InputError, match=r"one group \(mug\).*use --split_by object"):
        group_sides(NAMES[:20])
    with pytest.raises(InputError, match="no object"):
        split_samples(np.array([], int), [], 0.1, 0, "group")
