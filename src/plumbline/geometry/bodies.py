"""The bodies that a mesh consists of: cavities, duplicates, bodies that touch."""

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.surfaces import winding_numbers
from plumbline.records import Float, Int

_OFF = 1e-5
"""Distance of a tested point from its face, in square roots of the face's area: more than rounding, less than
any wall."""
_LARGEST = 4
"""Faces of a body that are tested, the largest ones, in addition to the six outermost."""


def check_bodies(vertices: Float, faces: Int) -> None:
    """Refuse a closed mesh that is wound wrongly, or counts a body twice.

    A body of negative volume must be a cavity of another body. A body of positive volume must not lie wholly
    inside another, nor occur twice. Bodies that overlap partly are not noticed.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, closed, of positive volume in total. Faces of one body are connected by edges, so
            that bodies may share vertices.

    Raises:
        MeshError: a body is refused; the message says where it is.
    """
    body = _patches(faces)
    num = int(body.max()) + 1
    if num == 1:
        return
    a, b, c = (vertices - vertices.mean(axis=0))[faces.T]
    hollow = np.bincount(body, np.einsum("fd,fd->f", a, np.cross(b, c)), num) < 0
    low, high = np.full((num, 3), np.inf), np.full((num, 3), -np.inf)
    for axis in range(3):
        np.minimum.at(low[:, axis], body, vertices[faces, axis].min(axis=1))
        np.maximum.at(high[:, axis], body, vertices[faces, axis].max(axis=1))
    tested = hollow | _meet_others(low, high)
    chosen = _sample_faces(vertices, faces, body, _LARGEST, outermost=True)
    chosen = chosen[tested[body[chosen]]]
    if not len(chosen):
        return
    owner = body[chosen]
    outer, inner = _sides(vertices, faces[chosen])
    side = np.where(hollow[owner, None], outer, inner)
    winding = winding_numbers(side, vertices, faces)
    wrong = np.zeros(num, bool)
    wrong[owner[hollow[owner] & (winding < 0)]] = True
    if wrong.any():
        count = int(wrong.sum())
        bodies = "1 body of the mesh is" if count == 1 else f"{count} bodies of the mesh are"
        raise MeshError(
            f"{bodies} inside out and not a cavity of another body, {_place(low, high, wrong)}; "
            "flip its faces"
        )
    doubled = ~hollow & tested
    doubled[owner[winding < 2]] = False
    if doubled.any():
        mine = doubled[owner]
        inside = np.ones(num, bool)
        inside[owner[mine][winding_numbers(outer[mine], vertices, faces) < 1]] = False
        if (doubled & ~inside).any():
            raise MeshError(
                f"the mesh holds a body twice, {_place(low, high, doubled & ~inside)}; remove the copy"
            )
        raise MeshError(
            f"a body of the mesh lies inside another and is wound like it, {_place(low, high, doubled)}, "
            "so that it would count twice; flip its faces if it is a cavity, otherwise remove it"
        )


def has_inside(vertices: Float, faces: Int) -> bool:
    """Tell whether a surface without boundary, at whose edges more than two faces may meet, bounds a body.

    It does if the winding number is 0 or 1 everywhere. Within a patch, faces that are connected by edges of
    two faces, it is the same everywhere on one side, so that a few faces of each patch are tested. Where
    patches cross each other, it may be missed that it is another.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, as many through every edge in one direction as in the other; total volume positive.
    """
    patch = _patches(faces)
    num = int(patch.max()) + 1
    chosen = _sample_faces(vertices, faces, patch, _LARGEST if num < 2000 else 1, outermost=False)
    winding = winding_numbers(np.concatenate(_sides(vertices, faces[chosen])), vertices, faces)
    return bool(((winding == 0) | (winding == 1)).all())


def cancel_opposite_faces(faces: Int) -> Int:
    """Drop pairs of faces that lie back to back on the same three vertices: nothing is between them.

    Args:
        faces: ``[F, 3]`` vertex indices.

    Returns:
        The faces that are left, in order.
    """
    order, first, forward = _same_triples(faces)
    count = np.diff(first, append=len(faces))
    pairs = np.minimum(np.add.reduceat(forward.astype(np.int64), first), count)
    pairs = np.minimum(pairs, count - pairs)
    if not pairs.any():
        return faces
    # Rank of each face among those of its triple and direction; the first of each direction are dropped.
    group = np.repeat(np.arange(len(first)), count)
    keep = np.ones(len(faces), bool)
    for direction in (False, True):
        mine = np.flatnonzero(forward == direction)
        begin = np.searchsorted(group[mine], group[mine])
        keep[order[mine[np.arange(len(mine)) - begin < pairs[group[mine]]]]] = False
    return faces[keep]


def count_double_faces(faces: Int) -> int:
    """Count the faces ``[F, 3]`` that occur more than once, wound alike."""
    _, first, forward = _same_triples(faces)
    count = np.diff(first, append=len(faces))
    same = np.add.reduceat(forward.astype(np.int64), first)
    return int((np.maximum(same - 1, 0) + np.maximum(count - same - 1, 0)).sum())


def _same_triples(faces: Int) -> tuple[Int, Int, np.ndarray]:
    """Sort faces by their vertices: the order, where each triple begins, and the direction in that order."""
    triples = np.sort(faces, axis=1)
    order = np.lexsort(triples.T)
    triples = triples[order]
    first = np.flatnonzero(np.concatenate([[True], (triples[1:] != triples[:-1]).any(axis=1)]))
    a, b, c = faces[order].T
    forward = ((a < b) & (b < c)) | ((b < c) & (c < a)) | ((c < a) & (a < b))
    return order, first, forward


def _components(pairs: Int, num: int) -> Int:
    """Number the connected components of ``num`` nodes: ``[num]``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), pairs.T), (num, num))
    found: Int = connected_components(graph, directed=False)[1]
    return found


def _patches(faces: Int) -> Int:
    """Number the patches of faces that are connected by edges of exactly two faces: ``[F]``."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    order = np.argsort(key)
    first = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    pairs = first[np.diff(first, append=len(key)) == 2]
    return _components(np.stack([order[pairs], order[pairs + 1]], axis=1) // 3, len(faces))


def _sample_faces(vertices: Float, faces: Int, group: Int, largest: int, *, outermost: bool) -> Int:
    """Choose faces of each group: its largest ones, and those farthest in six directions; ``[n]``."""
    a, b, c = vertices[faces.T]
    normals = np.cross(b - a, c - a)
    areas = np.einsum("fd,fd->f", normals, normals)
    order = np.lexsort((-areas, group))
    begin = np.searchsorted(group[order], group[order])
    chosen = [order[np.arange(len(order)) - begin < largest]]
    if outermost:
        for reach in (a + b + c).T:
            order = np.lexsort((reach, group))
            last = np.flatnonzero(np.diff(group[order], append=-1))
            chosen += [order[last], order[np.concatenate([[0], last[:-1] + 1])]]
    found = np.sort(np.concatenate(chosen))
    found = found[np.concatenate([[True], np.diff(found) > 0])]
    sound: Int = found[areas[found] > 0]
    return sound


def _sides(vertices: Float, faces: Int) -> tuple[Float, Float]:
    """Points just outside and just inside the middle of faces, ``[n, 3]`` each."""
    a, b, c = vertices[faces.T]
    normals = np.cross(b - a, c - a)
    double = np.linalg.norm(normals, axis=1, keepdims=True)
    middle, step = (a + b + c) / 3, _OFF * normals / np.sqrt(double)
    return middle + step, middle - step


def _meet_others(low: Float, high: Float) -> np.ndarray:
    """Tell which boxes meet another one: ``[n]``."""
    found = np.zeros(len(low), bool)
    piece = max(1, (1 << 22) // len(low))
    for start in range(0, len(low), piece):
        mine = slice(start, start + piece)
        meets = ((low[mine, None] <= high) & (low <= high[mine, None])).all(axis=-1)
        found[mine] = meets.sum(axis=1) > 1
    return found


def _place(low: Float, high: Float, which: np.ndarray) -> str:
    first = int(np.flatnonzero(which)[0])
    middle = (low[first] + high[first]) / 2
    return "around ({:.4g}, {:.4g}, {:.4g}) m".format(*middle)
