"""The bodies of a mesh file by name, and whether they lie apart."""

from collections.abc import Sequence

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import MeshContent, show
from plumbline.records import Float, Int, Solid

_OVERLAP = 1e-3
"""Bodies may share this fraction of the smaller one's volume: rounded coordinates of surfaces that touch."""


def body_names(content: MeshContent) -> list[str]:
    """Name the bodies of a mesh file, in its order; ``""`` stands for all faces without a name."""
    return list(dict.fromkeys(run.body for run in content.runs)) or [""]


def show_body(name: str) -> str:
    """Name a body in a message."""
    return show(name) if name else "the faces without a name"


def split_bodies(content: MeshContent) -> dict[str, tuple[Float, Int]]:
    """Split a mesh into its bodies: their vertices ``[V, 3]`` and faces ``[F, 3]``, by name."""
    faces: dict[str, list[Int]] = {name: [] for name in body_names(content)}
    for run in content.runs:
        faces[run.body].append(content.faces[run.start : run.stop])
    split = {}
    for name, pieces in faces.items():
        own = np.concatenate(pieces) if pieces else content.faces
        used, places = np.unique(own, return_inverse=True)
        split[name] = content.vertices[used], places.reshape(own.shape)
    return split


def check_apart(bodies: Sequence[Solid]) -> None:
    """Refuse bodies that overlap: the volume that they share would have two densities.

    Bodies may touch, and one may fill a cavity of another.

    Raises:
        MeshError: two bodies overlap; the message names them, and says where.
    """
    from manifold3d import Manifold, Mesh64

    low = np.array([body.vertices.min(axis=0) for body in bodies])
    high = np.array([body.vertices.max(axis=0) for body in bodies])
    shapes: dict[int, Manifold] = {}
    for first, body in enumerate(bodies):
        meets = ((low[first] < high[first + 1 :]) & (low[first + 1 :] < high[first])).all(axis=1)
        for second in (first + 1 + np.flatnonzero(meets)).tolist():
            for index in (first, second):
                if index not in shapes:
                    mesh = bodies[index]
                    shapes[index] = Manifold(Mesh64(mesh.vertices, mesh.faces.astype(np.uint64)))
            shared = shapes[first] ^ shapes[second]
            other = bodies[second]
            if shared.volume() > _OVERLAP * min(body.volume, other.volume):
                box = np.array(shared.bounding_box())
                where = "({:.4g}, {:.4g}, {:.4g}) m".format(*(box[:3] + box[3:]) / 2)
                raise MeshError(
                    f"bodies {show(body.name)} and {show(other.name)} overlap around {where}, where their "
                    "densities would add up; cut a cavity into one of them, or move them apart"
                )
        shapes.pop(first, None)
