"""A split as the user gives it, and what is refused about it in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from plumbline.data.split_file import read_split, split_as_given
from plumbline.errors import InputError

NAMES = ["a/1", "a/2", "b/1", "b/2", "c", "007", "a"]
OBJECT_IDX = np.array([0, 0, 1, 2, 3, 4, 4, 5, 6, 1])

YAML = """
train: [a/, 007, a/1]
val:
- b/1
test: [c, c]
"""


def sides(split: dict[str, list[str]]) -> dict[str, list[int]]:
    found = split_as_given(OBJECT_IDX, NAMES, split, "--split_file s.yaml")
    assert all(indices.dtype == np.int64 for indices in found.values())
    return {side: indices.tolist() for side, indices in found.items()}


def test_json_and_yaml_say_the_same_and_names_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "split.yaml").write_text(YAML)
    wanted = {"train": ["007", "a/", "a/1"], "val": ["b/1"], "test": ["c"]}
    assert read_split(tmp_path / "split.yaml") == wanted
    for name in ("split.json", "split.yml"):
        (tmp_path / name).write_text(
            json.dumps({"test": ["c"], "train": ["a/1", "007", "a/"], "val": ["b/1"]})
        )
        assert read_split(tmp_path / name) == wanted


def test_every_sample_follows_its_object(tmp_path: Path) -> None:
    """b/2 and a are in no list; a slash is needed to name a group."""
    found = sides({"train": ["a/", "007"], "val": ["b/1"], "test": ["c"]})
    assert found == {"train": [0, 1, 2, 7, 9], "val": [3], "test": [5, 6]}
    assert sides({"train": ["a"], "val": ["b/"]}) == {"train": [8], "val": [3, 4], "test": []}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"train": ["a/3"], "val": ["c"]}, "1 name (a/3) is not in the data set; did you mean a/"),
        ({"train": ["a/"], "val": ["x", "y", "z", "w"]}, "4 names (x, y, z, ...) are not in the data set"),
        ({"train": ["a/"], "val": ["b"]}, "1 name (b) is not in the data set; did you mean b/"),
        ({"train": ["a/"], "val": ["bb/"]}, "1 name (bb/) is not in the data set; did you mean b/?"),
        ({"train": ["a/"], "val": ["c", "a/2"]}, "1 object (a/2 (train and val)) is on two sides"),
        (
            {"train": ["a/", "b/1"], "val": ["b/"], "test": ["a/1"]},
            "2 objects (b/1 (train and val), a/1 (train and test)) are on two sides",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(split: dict[str, list[str]], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sides(split)
    assert str(caught.value).startswith(f"--split_file s.yaml: {said}")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.yaml", "train: [a]\nval: []", "val names no object"),
        ("s.yaml", "val: [a]", "train names no object"),
        ("s.yaml", "train: [a]\nvalid: [b]", "there is no side valid; did you mean val?"),
        ("s.yaml", "train: a\nval: [b]", "must map train, val and, if wanted, test to lists of names"),
        ("s.yaml", "train: [[a]]\nval: [b]", "must map train, val"),
        ("s.yaml", "train: [a]\nval: [b]\ntest:", "must map train, val"),
        ("s.yaml", "- a", "must map train, val"),
        ("s.yaml", "", "must map train, val"),
        ("s.yaml", "train: [", "not readable ("),
        ("s.json", '{"train": [1], "val": ["b"]}', "must map train, val"),
        ("s.json", "train: [a]", "not readable ("),
        ("s.json", '{"train": ["a"], "val": ["b"], "train": ["c"]}', "not readable (train occurs twice)"),
        ("s.yaml", "train: [a]\nval: [b]\ntrain: [c]", "not readable (train occurs twice)"),
        ("s.json", "[" * 100_000, "not readable ("),
        ("s.yaml", "[" * 5_000, "not readable ("),
    ],
)
def test_files_that_are_no_split_are_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_split(tmp_path / name)
    assert str(caught.value).startswith(f"--split_file {tmp_path / name}: {said}")
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml: cannot be read \(No such file or directory\)"):
        read_split(tmp_path / "nowhere.yaml")
    (tmp_path / "s.yaml").write_bytes(b"train: [\xff]")
    with pytest.raises(InputError, match="not readable"):
        read_split(tmp_path / "s.yaml")


def test_aliases_stay_small(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    (tmp_path / "s.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="must map train"):
        read_split(tmp_path / "s.yaml")
