"""The description of the interface holds: tried out by schemathesis, and shown on a page of its own."""

import copy
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.python.asgi import HOST
from schemathesis.specs.openapi.checks import positive_data_acceptance

from plumbline import load_predictor
from plumbline.config.predict import PredictConfig
from plumbline.serve.app import make_app
from plumbline.serve.fields import FILES, TEXTS
from tests.helpers.scanned import box_points, simulate, write_scan
from tests.helpers.serving import LIMITS, parts, serving

CASES = 25


@pytest.fixture(scope="module")
def described():
    app = make_app(load_predictor("convex_hull"), LIMITS, host=HOST, batch_size=64)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.fixture(scope="module")
def described_for_json(described):
    """Without the form: schemathesis cannot check that a file that it made up breaks a schema."""
    raw = copy.deepcopy(described.raw_schema)
    del raw["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    loaded = schemathesis.openapi.from_dict(raw)
    loaded.app, loaded.location = described.app, described.location
    return loaded


@pytest.mark.parametrize(
    ("which", "path", "method", "mode"),
    [
        ("described", "/predict", "POST", GenerationMode.POSITIVE),
        ("described_for_json", "/predict", "POST", GenerationMode.POSITIVE),
        ("described_for_json", "/predict", "POST", GenerationMode.NEGATIVE),
        ("described", "/healthz", "GET", GenerationMode.POSITIVE),
    ],
)
def test_answers_are_what_the_description_says(request, which, path, method, mode):
    """Only documented statuses, types and fields; what breaks the schema is refused, and nothing fails."""
    operation = request.getfixturevalue(which)[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=CASES, derandomize=True, deadline=None, database=None,
              suppress_health_check=[*HealthCheck])  # fmt: skip
    def try_out(case):
        # No schema can say which bytes are a scan, so that valid requests may be refused, too.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    try_out()


def test_the_answers_of_real_scans_are_as_described(described, tmp_path):
    operation = described["/predict"]["POST"]
    file = write_scan(tmp_path / "a.npz", simulate(1))
    with serving(load_predictor()) as client:
        for sent in (parts(cloud=file, mass=2), {"json": {"cloud": (box_points() + (0, 0, 9)).tolist()}}):
            answer = client.post("/predict", **sent)
            assert answer.status_code == 200
            operation.validate_response(answer)


def test_the_fields_are_those_that_are_read_and_flags_of_predict(described):
    content = described["/predict"]["POST"].definition.raw["requestBody"]["content"]
    assert {*content["multipart/form-data"]["schema"]["properties"]} == {*TEXTS, *FILES}
    in_json = {*content["application/json"]["schema"]["properties"]}
    assert in_json == {*TEXTS, "cloud", "frame"} - {"depth_scale"}, "which is of depth images"
    assert {*TEXTS, *FILES} - {"cloud"} <= {*PredictConfig.options()}


def test_the_page_of_the_description_shows_all_of_it_and_loads_nothing(described):
    with serving(load_predictor("convex_hull")) as client:
        answer = client.get("/docs")
        raw = client.get("/openapi.json").json()
    for name in (*TEXTS, *FILES, *raw["paths"], *raw["components"]["schemas"], "413", "503"):
        assert f">{name}<" in answer.text or f" {name}<" in answer.text, name
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert re.findall(r"\ssrc=|@import|url\(", answer.text) == []
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert {link for link in links if not link.startswith("#")} == {"openapi.json", "data:,"}
    assert {link[1:] for link in links if link.startswith("#")} <= {*re.findall(r'id="(\w+)"', answer.text)}
