"""COLLADA files as text, of a brick whose volume and centre are known."""

import numpy as np

BRICK = [[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)]
"""A brick of volume 6, whose centre is CENTRE."""
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
CENTRE = [0.5, 1, 1.5]
SPACE = "http://www.collada.org/2005/11/COLLADASchema"


def words(*numbers):
    return " ".join(f"{number:g}" for number in np.ravel(numbers))


def source(name, values, *params, count=None, **accessor):
    """A source whose accessor has as many values a row as there are params, if it does not say so itself."""
    values = np.ravel(values)
    stride = accessor.pop("stride", len(params))
    count = len(values) // stride if count is None else count
    attributes = " ".join(f'{key}="{value}"' for key, value in accessor.items())
    named = "".join(
        f'<param name="{name}" type="float"/>' if name else '<param type="float"/>' for name in params
    )
    return (
        f'<source id="{name}"><float_array id="{name}-a" count="{len(values)}">{words(values)}</float_array>'
        f'<technique_common><accessor source="#{name}-a" count="{count}" stride="{stride}" {attributes}>'
        f"{named}</accessor></technique_common></source>"
    )


def names(name, tag, *values):
    return (
        f'<source id="{name}"><{tag} id="{name}-a" count="{len(values)}">{" ".join(values)}</{tag}>'
        f'<technique_common><accessor source="#{name}-a" count="{len(values)}"/></technique_common></source>'
    )


INPUT = '<input semantic="VERTEX" source="#v" offset="0"/>'
QUADS_XML = f'<polylist count="6">{INPUT}<vcount>{"4 " * 6}</vcount><p>{words(QUADS)}</p></polylist>'


def mesh(primitives=QUADS_XML, positions=None, tag="mesh"):
    """A mesh whose ids are the same in every geometry, as some programs write them."""
    positions = source("s", BRICK, "X", "Y", "Z") if positions is None else positions
    vertices = '<vertices id="v"><input semantic="POSITION" source="#s"/></vertices>'
    return f"<{tag}>{positions}{vertices}{primitives}</{tag}>"


def geometry(name="g", content=None):
    return f'<geometry id="{name}">{mesh() if content is None else content}</geometry>'


PLACED = '<instance_geometry url="#g"/>'


def dae(
    nodes=f"<node>{PLACED}</node>",
    geometries=None,
    more="",
    scene="#show",
    root=f'xmlns="{SPACE}" version="1.4.1"',
):
    """A file that shows the visual scene of these nodes."""
    shown = f'<scene><instance_visual_scene url="{scene}"/></scene>' if scene else ""
    return (
        f"<COLLADA {root}><library_geometries>{geometry() if geometries is None else geometries}"
        f"</library_geometries>{more}<library_visual_scenes>"
        f'<visual_scene id="show">{nodes}</visual_scene></library_visual_scenes>{shown}</COLLADA>'
    )


def write(folder, text):
    path = folder / "a.dae"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def skin(joints, weights, tag="Name_array", shape=None, inverse=None, target="#g"):
    """A skin whose vertices follow the (joint, weight) pairs of ``weights``."""
    inverse = [np.eye(4)] * len(joints) if inverse is None else inverse
    pairs = [[joint, place] for place, (joint, _) in enumerate(pair for pairs in weights for pair in pairs)]
    bound = "" if shape is None else f"<bind_shape_matrix>{words(shape)}</bind_shape_matrix>"
    return (
        f'<library_controllers><controller id="c"><skin source="{target}">{bound}{names("j", tag, *joints)}'
        + source("b", inverse, "TRANSFORM", stride=16)
        + source("w", [weight for pairs in weights for _, weight in pairs], "WEIGHT")
        + '<joints><input semantic="JOINT" source="#j"/>'
        '<input semantic="INV_BIND_MATRIX" source="#b"/></joints>'
        f'<vertex_weights count="{len(weights)}"><input semantic="JOINT" source="#j" offset="0"/>'
        f'<input semantic="WEIGHT" source="#w" offset="1"/>'
        f"<vcount>{words([len(pairs) for pairs in weights])}</vcount>"
        f"<v>{words(pairs)}</v></vertex_weights></skin></controller></library_controllers>"
    )
