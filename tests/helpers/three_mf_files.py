"""3mf files made of boxes, and the check of what is read from them against closed-form truth."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import MeshContent
from plumbline.geometry.mesh_formats.three_mf import read_3mf
from plumbline.geometry.surfaces import solid_properties

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
ALTERNATIVES = "http://schemas.microsoft.com/3dmanufacturing/production/alternatives/2021/04"
MATERIAL = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
SLICE = "http://schemas.microsoft.com/3dmanufacturing/slice/2015/07"
LATTICE = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02"
BOOLEAN = "http://schemas.3mf.io/3dmanufacturing/booleanoperations/2023/07"
DISPLACEMENT = "http://schemas.3mf.io/3dmanufacturing/displacement/2023/10"
VOLUMETRIC = "http://schemas.3mf.io/3dmanufacturing/volumetric/2022/01"
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
PREFIXES = {
    "p": PRODUCTION,
    "pa": ALTERNATIVES,
    "m": MATERIAL,
    "s": SLICE,
    "b": LATTICE,
    "bo": BOOLEAN,
    "d": DISPLACEMENT,
    "v": VOLUMETRIC,
    "mc": COMPATIBILITY,
    "vendor": "http://example.com/vendor",
}
MODEL_TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
ENCRYPTED_TYPE = "http://schemas.openxmlformats.org/package/2006/relationships/encryptedfile"
ROOT = "3D/3dmodel.model"
BAMBU, PRUSA = "Metadata/model_settings.config", "Metadata/Slic3r_PE_model.config"
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)


def mesh(*boxes: tuple[tuple[float, ...], tuple[float, ...]], more: str = "") -> str:
    """The mesh of axis-aligned boxes, each (lower corner, size)."""
    vertices, triangles = [], []
    for index, (low, size) in enumerate(boxes):
        vertices += [
            f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in (low + CORNERS * size).tolist()
        ]
        triangles += [f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in (FACES + 8 * index).tolist()]
    lists = f"<vertices>{''.join(vertices)}</vertices><triangles>{''.join(triangles)}</triangles>"
    return f"<mesh>{lists}{more}</mesh>"


def box(number: int, *, low=(0.0, 0.0, 0.0), size=(1.0, 1.0, 1.0), attributes: str = "") -> str:
    return f'<object id="{number}" {attributes}>{mesh((low, size))}</object>'


def composed(number: int, *components: str) -> str:
    return f'<object id="{number}"><components>{"".join(components)}</components></object>'


def placed(tag: str, number: int, matrix=None, more: str = "") -> str:
    """An item or component; ``matrix`` [4, 4] acts on columns."""
    text = "" if matrix is None else " ".join(map(repr, np.asarray(matrix, float)[:3].T.ravel().tolist()))
    return f'<{tag} objectid="{number}" {f"transform={chr(34)}{text}{chr(34)}" if text else ""} {more}/>'


def item(number: int, matrix=None, more: str = "") -> str:
    return placed("item", number, matrix, more)


def component(number: int, matrix=None, more: str = "") -> str:
    return placed("component", number, matrix, more)


def shift(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def model(resources: str, build: str = "", attributes: str = 'unit="millimeter"') -> str:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in PREFIXES.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><model {attributes} xmlns="{CORE}" {spaces}>'
        f"<resources>{resources}</resources><build>{build}</build></model>"
    )


def rels(*targets: str, kind: str = MODEL_TYPE, more: str = "") -> str:
    links = "".join(
        f'<Relationship Target="{target}" Id="r{index}" Type="{kind}" {more}/>'
        for index, target in enumerate(targets)
    )
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f"{links}</Relationships>"
    )


def write(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(folder: Path, root: str, members: dict[str, str | bytes] | None = None) -> MeshContent:
    return read_3mf(write(folder / "x.3mf", {"_rels/.rels": rels(f"/{ROOT}"), ROOT: root, **(members or {})}))


def refusal(folder: Path, root: str, members: dict[str, str | bytes] | None = None) -> str:
    with pytest.raises(MeshError) as caught:
        read(folder, root, members)
    text = str(caught.value)
    assert str(folder) not in text
    assert len(text) < 400
    return text


def check(
    content: MeshContent, *bodies: tuple[float, tuple[float, ...]], notes: tuple[str, ...] = ()
) -> None:
    """Check the volume and the centre of mass against bodies, each (volume, centre)."""
    volumes = np.array([volume for volume, _ in bodies])
    centre = volumes @ np.array([centre for _, centre in bodies]) / volumes.sum()
    volume, com = solid_properties(content.vertices, content.faces)
    assert volume == pytest.approx(volumes.sum(), rel=1e-9)
    np.testing.assert_allclose(com, centre, rtol=1e-9, atol=1e-9)
    assert content.notes == notes


def bambu(*parts: tuple[int, str], number: int = 9) -> dict[str, str | bytes]:
    listed = "".join(
        f'<part id="{part}" subtype="{kind}"><metadata key="name" value="x"/></part>' for part, kind in parts
    )
    return {
        BAMBU: f'<config><object id="{number}"><metadata key="name" value="x"/>{listed}</object></config>'
    }


def prusa(*volumes: tuple[int, int, str, str]) -> dict[str, str | bytes]:
    listed = "".join(
        f'<volume firstid="{first}" lastid="{last}">'
        f'<metadata type="volume" key="{key}" value="{value}"/></volume>'
        for first, last, key, value in volumes
    )
    whole = '<metadata type="object" key="modifier" value="1"/>'
    return {PRUSA: f'<config><object id="1">{whole}{listed}</object></config>'}
