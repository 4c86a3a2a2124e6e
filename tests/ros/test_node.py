"""The example node, with a ``rclpy`` of this test: real messages go in, and it publishes real messages."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plumbline.payload.forms.ros import INERTIA, MARKER, POINT
from plumbline.predictors.predictor import load_predictor
from plumbline.ros.messages import answer_fields
from tests.helpers import ROOT
from tests.helpers.processes import DEADLINE
from tests.helpers.ros_messages import START, STORE, TYPES, cloud_message, plain, through_cdr
from tests.helpers.scanned import simulate

NODE = ROOT / "examples" / "ros2" / "centre_of_mass_node.py"
FRAME = "camera_depth_optical_frame"
ROS = [
    *("rclpy", "rclpy.executors", "rclpy.node", "rclpy.qos"),
    *("geometry_msgs.msg", "sensor_msgs.msg", "visualization_msgs.msg"),
]


def blank(kind: str) -> Any:
    """A message as rclpy makes it: every field has its default, and takes values of its own type alone."""
    values = {}
    for name, (node, held) in STORE.fielddefs[kind][1]:
        if node.name == "NAME":
            values[name] = blank(held)
        elif node.name == "BASE":
            base = held[0]
            values[name] = {"string": "", "bool": False}.get(base, 0.0 if base.startswith("float") else 0)
        else:
            inner, what = held[0]
            values[name] = [] if inner.name == "NAME" else np.zeros(0, what[0])
    return strict(TYPES[kind])(**values)


def strict(kind: type) -> type:
    """The type, but it refuses another type of value, as rclpy does."""

    def setattr_(self: Any, name: str, value: Any) -> None:
        if name in vars(self):
            assert type(value) is type(getattr(self, name)), f"{name}: {value!r}"
        object.__setattr__(self, name, value)

    return type(kind.__name__, (kind,), {"__setattr__": setattr_})


class Node:
    """What the node uses of ``rclpy.node.Node``."""

    parameters: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        self.name, self.published, self.logged = name, [], []
        self.callbacks: dict[str, Any] = {}
        self.topics: dict[str, Any] = {}

    def declare_parameter(self, name: str, default: Any) -> Any:
        return SimpleNamespace(value=self.parameters.get(name, default))

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        self.topics[topic] = kind
        return SimpleNamespace(publish=lambda message: self.published.append((topic, message)))

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> None:
        self.topics[topic] = kind
        self.callbacks[topic] = callback

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=self.logged.append)

    def destroy_node(self) -> None:
        self.logged.append("destroyed")


def kinds(*names: str) -> dict[str, Any]:
    """Factories of messages by the last part of their type."""
    return {name.rpartition("/")[2]: (lambda name=name: blank(name)) for name in names}


@pytest.fixture
def module(monkeypatch):
    spun: list[Node] = []

    def spin(node: Node) -> None:
        spun.append(node)
        raise KeyboardInterrupt

    class ExternalShutdownException(Exception):
        pass

    modules = {
        "rclpy": {"init": lambda: None, "spin": spin, "try_shutdown": lambda: spun.append("shutdown")},
        "rclpy.node": {"Node": Node},
        "rclpy.executors": {"ExternalShutdownException": ExternalShutdownException},
        "rclpy.qos": {"qos_profile_sensor_data": object()},
        "geometry_msgs.msg": kinds(POINT, INERTIA),
        "sensor_msgs.msg": {"PointCloud2": TYPES["sensor_msgs/msg/PointCloud2"]},
        "visualization_msgs.msg": kinds(MARKER),
    }
    for name, held in modules.items():
        made = ModuleType(name)
        vars(made).update(held)
        monkeypatch.setitem(sys.modules, name, made)
        monkeypatch.setitem(sys.modules, name.split(".")[0], sys.modules.get(name.split(".")[0], made))
    spec = importlib.util.spec_from_file_location("centre_of_mass_node", NODE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    loaded.spun = spun
    return loaded


def start(module, monkeypatch, **parameters):
    monkeypatch.setattr(Node, "parameters", parameters)
    node = module.CentreOfMass()
    assert set(node.topics) == {"points", "~/centre_of_mass", "~/marker", "~/inertia"}
    return node


def seen(number: int = 3) -> np.ndarray:
    """What a sensor at the origin sees of an object, from one side."""
    scan = simulate(number)
    away = scan.sensor == scan.sensor[0]
    return (scan.points - scan.sensor[0])[away.all(axis=1)]


def test_a_cloud_is_answered_with_the_prediction_of_its_points(module, monkeypatch):
    points = seen().astype(np.float32)
    node = start(module, monkeypatch, mass=0.4)
    node.callbacks["points"](through_cdr(cloud_message(points)))
    assert [topic for topic, _ in node.published] == ["~/centre_of_mass", "~/marker", "~/inertia"]
    expected = replace(load_predictor().predict(points.astype(float)), frame=FRAME)
    stamp = SimpleNamespace(sec=START // 10**9, nanosec=START % 10**9)
    fields = answer_fields(expected, stamp, expected.payload(0.4))
    for (_, message), (kind, held) in zip(node.published, fields.items(), strict=True):
        again = plain(STORE.deserialize_cdr(STORE.serialize_cdr(message, kind), kind))
        for name, value in held.items():
            if name == "color":
                value = {key: float(np.float32(one)) for key, one in value.items()}
            assert again[name] == value
    assert node.published[0][1].header.frame_id == FRAME


def test_without_a_mass_there_is_no_inertia_and_warnings_are_logged(module, monkeypatch):
    node = start(module, monkeypatch)
    flat = np.random.default_rng(0).uniform(-0.1, 0.1, (400, 3)) * (1, 1, 0) + (0, 0, 0.8)
    node.callbacks["points"](cloud_message(flat))
    assert [topic for topic, _ in node.published] == ["~/centre_of_mass", "~/marker"]
    assert any("flat face" in line for line in node.logged)
    node = start(module, monkeypatch, strict=True)
    node.callbacks["points"](cloud_message(flat))
    assert node.published == []
    assert node.logged[0].startswith("the cloud: --strict refuses a scan with a warning: ")


def test_a_cloud_that_is_no_scan_is_logged_in_a_sentence(module, monkeypatch):
    node = start(module, monkeypatch, mass=0.4)
    node.callbacks["points"](cloud_message(np.full((4, 3), np.nan)))
    assert node.published == []
    assert node.logged == ["the cloud has no points: all 4 rows are missing returns; give another scan"]


def test_the_node_ends_in_order(module):
    module.main()
    node, shutdown = module.spun
    assert (node.logged, shutdown) == (["destroyed"], "shutdown")


@pytest.mark.parametrize("missing", ["rclpy", "visualization_msgs.msg", "plumbline"])
def test_without_ros_or_plumbline_it_says_what_it_needs(missing):
    code = (
        "import runpy, sys\nfrom unittest.mock import MagicMock\n"
        f"sys.modules.update({{name: MagicMock() for name in {ROS}}})\n"
        f"sys.modules[{missing!r}] = None\nrunpy.run_path({str(NODE)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (2, "")
    how = "source ROS 2 (source /opt/ros/jazzy/setup.bash), and use a Python that plumbline is installed for"
    assert done.stderr.startswith("error: ")
    assert missing in done.stderr
    assert done.stderr.endswith(f": {how}\n")
    assert done.stderr.count("\n") == 1


def test_the_node_is_short_and_its_page_says_how_to_run_it():
    assert len(NODE.read_text(encoding="utf-8").splitlines()) <= 80
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"python3? (examples/ros2/\S+)", page) == ["examples/ros2/centre_of_mass_node.py"]
