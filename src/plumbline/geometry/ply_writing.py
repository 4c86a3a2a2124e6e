"""Points written as ply files."""

from pathlib import Path

from plumbline.records import Float
from plumbline.writing import write_atomically


def write_ply(path: Path, points: Float, sensor: Float) -> None:
    """Write a scan as a binary ply file that :func:`plumbline.load_cloud` reads.

    Args:
        path: file to create or to replace, in an existing folder.
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor that measured each point. The file says where the sensor
            stood if all points were measured from one position.

    Raises:
        OSError: writing failed.
    """
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    head += [f"property double {axis}" for axis in "xyz"]
    body = points.astype("<f8").tobytes()
    if (sensor == sensor[0]).all():
        head += ["element camera 1", *(f"property double view_p{axis}" for axis in "xyz")]
        body += sensor[0].astype("<f8").tobytes()
    write_atomically(path, "\n".join([*head, "end_header", ""]).encode() + body, durable=False)
