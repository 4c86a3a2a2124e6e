"""Mesh files of named bodies, the same bodies in every format that has names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.helpers import collada_files, three_mf_files
from tests.helpers.gltf_scenes import Scene

FORMATS = ("o.obj", "g.obj", "glb", "gltf", "dae", "3mf")
"""Suffixes; those of obj files start with the word that names a body."""
BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)
Mesh = tuple[np.ndarray, np.ndarray]


def block(low, high) -> Mesh:
    """An axis-aligned box."""
    return np.add(low, BOX * np.subtract(high, low)), BOX_FACES


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def flipped(mesh: Mesh) -> Mesh:
    return mesh[0], mesh[1][:, ::-1]


def write_bodies(folder: Path, form: str, bodies: Mapping[str, Mesh], stem: str = "a") -> Path:
    """Write bodies into one file, in their order."""
    path = folder / f"{stem}.{form}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if form.endswith("obj"):
        lines, start = [], 1
        for name, (vertices, faces) in bodies.items():
            lines.append(f"{form[0]} {name}")
            lines += ["v " + " ".join(map(repr, row)) for row in vertices.tolist()]
            lines += ["f " + " ".join(map(str, row)) for row in (faces + start).tolist()]
            start += len(vertices)
        path.write_text("\n".join(lines) + "\n")
    elif form in ("glb", "gltf"):
        scene = Scene(path.parent)
        for name, (vertices, faces) in bodies.items():
            position, indices = scene.numbers(vertices), scene.numbers(faces.ravel(), "u2")
            mesh = scene.mesh({"attributes": {"POSITION": position}, "indices": indices})
            scene.node(mesh=mesh, name=name)
        scene.write(form).rename(path)
    elif form == "dae":
        geometries = nodes = ""
        for i, (name, (vertices, faces)) in enumerate(bodies.items()):
            corners = collada_files.words(faces)
            primitives = f'<triangles count="{len(faces)}">{collada_files.INPUT}<p>{corners}</p></triangles>'
            positions = collada_files.source("s", vertices, "X", "Y", "Z")
            geometries += collada_files.geometry(f"g{i}", collada_files.mesh(primitives, positions))
            nodes += f'<node name="{name}"><instance_geometry url="#g{i}"/></node>'
        path.write_text(collada_files.dae(nodes, geometries))
    else:
        resources = build = ""
        for i, (name, (vertices, faces)) in enumerate(bodies.items()):
            corners = "".join(f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in vertices.tolist())
            triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces.tolist())
            mesh = f"<mesh><vertices>{corners}</vertices><triangles>{triangles}</triangles></mesh>"
            resources += f'<object id="{i + 1}" name="{name}">{mesh}</object>'
            build += three_mf_files.item(i + 1)
        root = three_mf_files.model(resources, build)
        links = three_mf_files.rels(f"/{three_mf_files.ROOT}")
        three_mf_files.write(path, {"_rels/.rels": links, three_mf_files.ROOT: root})
    return path
