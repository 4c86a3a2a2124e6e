"""Every form, read back by the programs that it is for."""

import ast
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from plumbline.errors import InputError
from plumbline.geometry.rotations import random_rotation
from plumbline.payload.forms import FORMS, write
from plumbline.payload.record import Payload
from tests.helpers.bodies import masses_of, payload_of

EXACT = 1e-9
"""Relative: what the consumers' own arithmetic costs."""


def sample(seed: int) -> Payload:
    spread = random_rotation(np.random.default_rng(seed)) @ np.diag([0.05, 0.02, 0.01])
    return payload_of(*masses_of(seed), covariance=spread @ spread.T, frame="tool 0")


PAYLOADS = [
    *map(sample, range(4)),
    Payload(1e-6, np.array([1e-9, 0, -3e-4]), 1e-12 * np.diag([2.0, 3.0, 4.0])),
    Payload(2e4, np.array([1e3, 2e3, 0]), np.diag([1.0, 1.0, 2.0]) * 1e5),
]


ROBOTS = {
    "urdf": """<robot name="r"><link name="base"/><link name="part">{}</link>
      <joint name="j" type="revolute"><parent link="base"/><child link="part"/><axis xyz="0 0 1"/>
      <limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>""",
    "mjcf": """<mujoco><worldbody><body name="part"><freejoint/>{}<geom size="1" mass="0" contype="0"/></body>
      </worldbody></mujoco>""",
}


def robot(form: str, payload: Payload) -> str:
    return ROBOTS[form].format(write(payload, form))


def same(payload: Payload, mass: float, com: np.ndarray, inertia: np.ndarray) -> None:
    assert mass == pytest.approx(payload.mass, rel=EXACT)
    np.testing.assert_allclose(com, payload.com, rtol=EXACT, atol=EXACT * np.abs(payload.com).max())
    np.testing.assert_allclose(inertia, payload.inertia, rtol=EXACT, atol=EXACT * payload.inertia.max())


@pytest.mark.parametrize("payload", PAYLOADS)
def test_pinocchio_reads_the_urdf(payload):
    import pinocchio

    body = pinocchio.buildModelFromXML(robot("urdf", payload)).inertias[1]
    same(payload, body.mass, body.lever, body.inertia)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_yourdfpy_reads_the_urdf(payload, tmp_path):
    import yourdfpy

    (tmp_path / "r.urdf").write_text(robot("urdf", payload))
    body = yourdfpy.URDF.load(str(tmp_path / "r.urdf")).link_map["part"].inertial
    np.testing.assert_array_equal(body.origin[:3, :3], np.eye(3))
    same(payload, body.mass, body.origin[:3, 3], body.inertia)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_mujoco_reads_the_mjcf(payload):
    import mujoco

    model = mujoco.MjModel.from_xml_string(robot("mjcf", payload))
    (body,) = [i for i in range(model.nbody) if model.body(i).name == "part"]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.body_iquat[body])
    axes = turn.reshape(3, 3)
    same(
        payload,
        model.body_mass[body],
        model.body_ipos[body],
        axes @ np.diag(model.body_inertia[body]) @ axes.T,
    )


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_sdf_says_the_same(payload):
    inertial = ElementTree.fromstring(write(payload, "sdf"))
    pose = np.array(inertial.findtext("pose").split(), np.float64)
    np.testing.assert_array_equal(pose, [*payload.com, 0, 0, 0])
    assert float(inertial.findtext("mass")) == payload.mass
    held = {item.tag: float(item.text) for item in inertial.find("inertia")}
    assert held == moments(payload)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_calls_of_ur_and_franka_say_the_same(payload):
    call = re.fullmatch(r"set_target_payload\((.*)\)", write(payload, "ur"))
    mass, com, six = ast.literal_eval(f"[{call[1]}]")
    assert (mass, com) == (payload.mass, payload.com.tolist())
    held = moments(payload)
    assert six == [held[name] for name in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")]
    call = re.fullmatch(r"robot\.setLoad\((.*)\);", write(payload, "franka"))
    mass, com, nine = ast.literal_eval(f"[{call[1].replace('{{', '[').replace('}}', ']')}]")
    assert (mass, com) == (payload.mass, payload.com.tolist())
    np.testing.assert_array_equal(np.reshape(nine, (3, 3), order="F"), payload.inertia)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_messages_of_ros_say_the_same(payload):
    inertia, point, marker = yaml.safe_load_all(write(payload, "ros"))
    for message in (inertia, point, marker):
        assert message["header"]["frame_id"] == payload.frame
    held = inertia["inertia"]
    assert held.pop("m") == payload.mass
    assert list(held.pop("com").values()) == payload.com.tolist()
    assert held == moments(payload)
    assert list(point["point"].values()) == payload.com.tolist()
    assert list(marker["pose"]["position"].values()) == payload.com.tolist()
    if payload.covariance is None:
        return
    x, y, z, w = marker["pose"]["orientation"].values()
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    radii = np.array(list(marker["scale"].values())) / 2
    np.testing.assert_allclose(
        turn @ np.diag(radii**2) @ turn.T, 6.251388631 * payload.covariance, rtol=1e-8, atol=1e-12
    )


def moments(payload: Payload) -> dict[str, float]:
    inertia = payload.inertia
    return {f"i{'xyz'[i]}{'xyz'[j]}": float(inertia[i, j]) for i in range(3) for j in range(i, 3)}


def test_without_an_inertia_only_the_robot_that_needs_none_is_told():
    payload = replace(PAYLOADS[0], inertia=None)
    for form in FORMS:
        if form == "ur":
            assert write(payload, form).count("[") == 1
            continue
        with pytest.raises(InputError, match="the inertia of this payload is not known"):
            write(payload, form)


def test_a_name_of_a_frame_cannot_break_the_yaml():
    name = 'a"b\\c: {d}\n'
    first, *_ = yaml.safe_load_all(write(replace(PAYLOADS[0], frame=name), "ros"))
    assert first["header"]["frame_id"] == name
