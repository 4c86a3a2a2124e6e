"""Random settings files: each is refused in one sentence that names a flag in it, or is read as written."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline import cli
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError
from plumbline.training.persistence.run_folder import write_config
from plumbline.training.records import TrainSettings

ITEMS = TrainConfig.options()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.integers()
    | st.floats()
    | st.sampled_from(
        [0.0, 0.25, 0.5, 1.0, 1e-3, "16", "1e-3", "yes", "null", "~", "00:00:10:00", "last", "=", "-1"]
    )
    | TEXT
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=1)


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, Any]:
    """A flag and something that it might mean, or something that it cannot."""
    name = draw(st.sampled_from(sorted(ITEMS)))
    fitting: list[Any] = [TrainConfig().plain()[name], *ITEMS[name].kind.choices]
    if ITEMS[name].many:
        fitting.append(["a", "b"])
    return name, draw(st.sampled_from(fitting) | VALUES)


def same(found: Any, said: Any) -> bool:
    """Whether a setting is what the file says; a number may mean text, and a text a path or a switch."""
    if isinstance(found, list):
        return isinstance(said, list) and len(found) == len(said) and all(map(same, found, said))
    if isinstance(found, bool):
        return said is found or said == ("yes" if found else "no")
    if isinstance(said, list):  # of one folder
        return isinstance(found, Path) and len(said) == 1 and same(found, said[0])
    if isinstance(found, int | float) and isinstance(said, str):
        return found == float(said)
    if isinstance(said, bool | int | float) and isinstance(found, str | Path):  # as it is written there
        return repr(yaml.safe_load(str(found))) == repr(said)
    if isinstance(said, bool):
        return False
    return found == said or str(found) == str(said)


@settings(derandomize=True, deadline=None, max_examples=250)
@given(given_flags=st.lists(entries(), min_size=1, max_size=4).map(dict))
def test_a_file_of_flags_is_refused_or_means_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, given_flags: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("config")
    path = folder / "flags.yaml"
    path.write_text(yaml.safe_dump(given_flags, sort_keys=False), encoding="utf-8")
    try:
        config = cli.parse("train", ["--config", str(path)])
    except InputError as error:
        said = str(error)
        assert "\n" not in said
        assert any(name in said for name in given_flags) or ", line " in said, said
        return
    for name, value in given_flags.items():
        assert same(getattr(config, name), value), (name, value, getattr(config, name))
    write_config(folder, TrainSettings.of(config).plain())
    again = cli.parse("train", ["--config", str(folder / "config.yaml")])
    assert again == dataclasses.replace(config, resume=None)
