"""A writer of glTF files that is independent of all libraries, and the expected content."""

import base64
import json
import struct
import warnings

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.gltf import read_gltf
from plumbline.geometry.surfaces import solid_properties

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)
TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
FORMS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
DRACO, MESHOPT, INSTANCING = (
    "KHR_draco_mesh_compression",
    "EXT_meshopt_compression",
    "EXT_mesh_gpu_instancing",
)


class Scene:
    """A glTF file that is built object by object."""

    def __init__(self, folder):
        self.folder = folder
        self.root = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "meshes": []}
        self.root |= {"nodes": [], "buffers": [{}]}
        self.data = b""

    def view(self, data, **more):
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more}
        self.root["bufferViews"].append(view)
        self.data += data + bytes(-len(data) % 4)
        return len(self.root["bufferViews"]) - 1

    def declare(self, **accessor):
        self.root["accessors"].append(accessor)
        return len(self.root["accessors"]) - 1

    def numbers(self, values, kind="f4", **more):
        array = np.asarray(values, np.dtype(kind).newbyteorder("<"))
        array = array.reshape(len(array), -1)
        shape = {"componentType": TYPES[kind], "count": len(array), "type": FORMS[array.shape[1]]}
        return self.declare(bufferView=self.view(array.tobytes()), **shape, **more)

    def mesh(self, *primitives, **more):
        self.root["meshes"].append({"primitives": list(primitives), **more})
        return len(self.root["meshes"]) - 1

    def node(self, **node):
        self.root["nodes"].append(node)
        return len(self.root["nodes"]) - 1

    def box(self, vertices=BOX, **more):
        """A mesh of one primitive."""
        position, indices = self.numbers(vertices), self.numbers(FACES.ravel(), "u2")
        return self.mesh({"attributes": {"POSITION": position}, "indices": indices, **more})

    def required(self, *names):
        self.root["extensionsRequired"] = self.root["extensionsUsed"] = list(names)

    def write(self, suffix):
        self.root["buffers"][0]["byteLength"] = len(self.data)
        path = self.folder / f"a.{suffix}"
        if suffix == "gltf":
            data = base64.b64encode(self.data).decode()
            self.root["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{data}"
            path.write_text(json.dumps(self.root))
        else:
            self.root["buffers"][0].pop("uri", None)
            path.write_bytes(glb((b"JSON", json.dumps(self.root).encode()), (b"BIN\0", self.data)))
        return path

    def read(self, suffix="glb"):
        """Read the scene; a warning is an error."""
        path = self.write(suffix)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_gltf(path)

    def expect(self, volume, com, notes=()):
        """Check volume and centre of what the scene holds, as ``.glb`` and as ``.gltf``."""
        for suffix in ("glb", "gltf"):
            content = self.read(suffix)
            found, centre = solid_properties(content.vertices, content.faces)
            assert found == pytest.approx(volume, rel=1e-6)
            np.testing.assert_allclose(centre, com, atol=1e-6)
            assert content.notes == tuple(notes)
        return content

    def refuse(self, reason):
        """Check that the scene is refused, and why."""
        for suffix in ("glb", "gltf"):
            with pytest.raises(MeshError, match=reason):
                self.read(suffix)


def glb(*chunks, version=2, length=None):
    body = b"".join(
        struct.pack("<I4s", len(data) + -len(data) % 4, kind) + data + b" " * (-len(data) % 4)
        for kind, data in chunks
    )
    return struct.pack("<4sII", b"glTF", version, 12 + len(body) if length is None else length) + body
