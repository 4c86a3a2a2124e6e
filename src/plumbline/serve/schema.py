"""What requests and answers look like, for the OpenAPI description of the server."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from plumbline.config.predict import PredictConfig
from plumbline.serve.bodies import FORM, JSON
from plumbline.serve.fields import FILES, TEXTS

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Refusal(_Strict):
    """Why there is no answer."""

    error: str = Field(description="one sentence: what is wrong, and how to fix it")


class Health(_Strict):
    """The server is ready."""

    status: str = Field(description="ready")
    model: str = Field(description="name of the network or of the untrained baseline")
    checkpoint: str | None = Field(None, description="of the network; missing for a baseline")
    version: str = Field(description="of plumbline")


class Payload(_Strict):
    """What an arm holds, about the centre of mass, in the axes of the frame. Kilograms and metres."""

    mass: float
    com: Vector
    inertia: Matrix | None = None
    inertia_at_origin: Matrix | None = None
    covariance: Matrix | None = None
    frame: str | None = None


class Answer(_Strict):
    """The centre of mass of one object: a line of ``plumbline predict --json``."""

    file: str = Field(description="name of the file, as the request gives it; cloud for points in JSON")
    object: int | None = Field(None, description="number in the mask, or of what stands on the table")
    com: Vector = Field(description="centre of mass, in the frame and unit of the scan")
    expected_error: float | None = None
    radius_90: float | None = Field(None, description="nine in ten true centres are as near")
    covariance: Matrix | None = None
    volume: float | None = None
    inertia: Matrix | None = Field(None, description="about the centre of mass, per unit mass")
    novelty: float | None = Field(None, description="99 % of the scans of the validation are below 1")
    points: int
    points_used: int
    left_out: float = Field(description="share of stray points, 0 to 1")
    views: int
    sensor: str = Field(description="how the position of the sensor is known")
    unit: str
    notes: list[str] | None = None
    warnings: list[str] | None = None
    frame: str | None = None
    payload: Payload | None = Field(None, description="if mass or density is given")
    model: str
    checkpoint: str | None = None


class ObjectRefused(_Strict):
    """An object without an answer, where another one has an answer."""

    file: str
    object: int | None = None
    error: str


_ABOUT = {
    "cloud": "a scan, in any format that predict reads, by the end of its name, such as .ply or .npz",
    "depth": "a depth image instead: 16-bit PNG, TIFF, npy, or npz with an array depth; with intrinsics",
    "intrinsics": "its camera: fx,fy,cx,cy in pixels, or a file of Open3D, RealSense, BOP, ROS or OpenCV",
    "mask": "the objects in it: a picture or an array, not 0 on the object, a number for each of several",
    "frame": "JSON with the rigid motion [4, 4], metres, from the frame of the scan to the one wanted",
}
_NUMBER: dict[str, Any] = {"type": "number"}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "sensor": {"type": "array", "items": _NUMBER, "minItems": 3, "maxItems": 3},
    "table": {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4},
    **dict.fromkeys(("scale", "mass", "density"), _POSITIVE),
    "clean": {"type": "boolean"},
    "points": {"type": "integer", "minimum": 2},
    "draws": {"type": "integer", "minimum": 1},
    "strict": {"type": "boolean"},
}


def request_body() -> dict[str, Any]:
    """The body of a request, in OpenAPI: a form with files, or JSON."""
    options = PredictConfig.options()
    about = {name: options[name].help for name in TEXTS} | _ABOUT
    files = {name: {"type": "string", "format": "binary", "description": about[name]} for name in FILES}
    texts = {name: {"type": "string", "description": about[name]} for name in TEXTS}
    in_json = {name: {**kind, "description": about[name]} for name, kind in _JSON_TYPES.items()}
    row = {"type": "array", "items": _NUMBER, "minItems": 3, "maxItems": 3}
    matrix = {"type": "array", "items": {"type": "array", "items": _NUMBER}}
    in_json["cloud"] = {"type": "array", "items": row, "minItems": 2, "description": "the points [N, 3]"}
    in_json["frame"] = {
        "anyOf": [matrix, {"type": "object", "properties": {"matrix": matrix, "frame": {"type": "string"}}}],
        "description": _ABOUT["frame"],
    }
    return {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {**files, **texts},
                    "anyOf": [{"required": ["cloud"]}, {"required": ["depth", "intrinsics"]}],
                    "additionalProperties": False,
                }
            },
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": in_json,
                    "required": ["cloud"],
                    "additionalProperties": False,
                }
            },
        },
    }
