"""Reader and writer of the documented sample files: one `.pt` dictionary per scan; reading runs no code."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from plumbline.data.pt import foreign
from plumbline.data.pt.archive import UnusualArchiveError, read_archive
from plumbline.data.pt.unpickling import load_plain
from plumbline.errors import InputError, SampleError
from plumbline.files import refusal, visible_files
from plumbline.records import Float, Int, Sample, unusable
from plumbline.writing import atomic_file, write_atomically

METADATA_FILE = "dataset_metadata.json"
_LARGEST = 2**31
_VIEW_SUFFIX = re.compile(r"(?<=.)[_-](?:sample|view|scan)[_-]?\d+$")


def list_pt(folder: Path) -> list[tuple[Path, str | None]]:
    """List the sample files of a folder and its subfolders, sorted by name.

    Returns:
        Each file with the object name that ``dataset_metadata.json`` gives it, or None.

    Raises:
        InputError: ``dataset_metadata.json`` or a folder exists but cannot be read.
    """
    names: dict[str, str] = {}
    for entry in read_dataset_metadata(folder).get("files", []):
        if isinstance(entry, dict) and isinstance(entry.get("object_name"), str):
            names[str(entry.get("filename"))] = entry["object_name"]
    return [(folder / file, names.get(file)) for file in visible_files(folder, {".pt"})]


def read_dataset_metadata(folder: Path) -> dict[str, Any]:
    """Read ``dataset_metadata.json``; empty if the folder has none. Raises SampleError if unreadable."""
    file = folder / METADATA_FILE
    try:
        metadata = json.loads(file.read_bytes(), parse_constant=lambda name: None)  # NaN: not known
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SampleError(f"{file} cannot be read: {error.strerror}") from error
    except (RecursionError, ValueError) as error:
        raise SampleError(f"{file} is not JSON ({error}): fix or remove it") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("files", []), list):
        raise SampleError(f"{file} should be a JSON object with a list of `files`: fix or remove it")
    return metadata


def read_pt(path: Path, *, object_name: str | None = None) -> Sample:
    """Read and validate one sample file; :func:`read_pt_metadata` also returns its metadata.

    Args:
        path: a file in the documented layout.
        object_name: from ``dataset_metadata.json``. If None, it is taken from the file's own metadata, or
            else from its file name without a trailing ``_sample3``, ``_view2`` or ``_scan1``.

    Raises:
        SampleError: the file is unreadable, contains anything but data, or breaks the layout. The message
            is the reason without the path.
    """
    return read_pt_metadata(path, object_name=object_name)[0]


def read_pt_metadata(path: Path, *, object_name: str | None = None) -> tuple[Sample, dict[str, Any]]:
    """Like :func:`read_pt`, but also return the file's ``metadata`` dictionary."""
    content = _load(path)
    if not isinstance(content, dict):
        raise SampleError(
            f"holds a {type(content).__name__} where a dictionary is expected: save one per file"
        )
    missing = [key for key in ("node_features", "edge_index", "target") if content.get(key) is None]
    if missing:
        raise SampleError(f"lacks {', '.join(missing)}")
    metadata = content.get("metadata")
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise SampleError(f"metadata is a {type(metadata).__name__} where a dictionary is expected")

    node_features = _floats(content, "node_features", (None, None))
    num_nodes = len(node_features)
    if not num_nodes or not node_features.shape[1]:
        raise SampleError(f"node_features is empty: {list(node_features.shape)}")
    in_degree, source, order = _edges(content, num_nodes)
    point_cloud = None
    if content.get("point_cloud") is not None:
        point_cloud = _floats(content, "point_cloud", (num_nodes, 3))
        if np.array_equal(point_cloud, node_features[:, :3]):
            point_cloud = None
    elif node_features.shape[1] < 3:
        raise SampleError(
            "has no point_cloud, and node_features has too few columns to begin with a position"
        )
    edge_attr = None
    if content.get("edge_attr") is not None:
        edge_attr = _floats(content, "edge_attr", (len(source), None))[order]
    vectors = None
    if content.get("vectors") is not None:
        vectors = _floats(content, "vectors", (None, 3))
    _check_counts(content, num_nodes, len(source))
    if object_name is None:
        object_name = metadata.get("object_name")
    sample = Sample(
        node_features=node_features,
        in_degree=in_degree,
        edge_source=source,
        target=_target(content),
        object_name=object_name if isinstance(object_name, str) and object_name else object_of_file(path),
        edge_attr=edge_attr,
        point_cloud=point_cloud,
        bounding_radius=_number(metadata, "bounding_radius", float("nan")),
        origin=_origin(metadata),
        scale=_number(metadata, "scale", 1.0),
        num_views=int(_number(metadata, "num_views", 0)),
        volume=_number(metadata, "volume", float("nan")),
        inertia=_inertia(metadata),
        vectors=vectors,
    )
    reason = unusable(sample)
    if reason is not None:
        raise SampleError(reason)
    return sample, metadata


def object_of_file(path: Path) -> str:
    """Object name derived from a file name: the stem without a trailing ``_sample3`` or similar."""
    return _VIEW_SUFFIX.sub("", path.stem)


def write_pt(
    path: Path,
    sample: Sample,
    *,
    edge_attr: str = "none",
    sh_degree: int | None = None,
    normalise: str = "none",
    k: int | None = None,
) -> None:
    """Write one sample in the documented layout, atomically but without waiting for the disk.

    Args:
        path: the file.
        sample: the sample.
        edge_attr: kind of ``sample.edge_attr``: "none", "sh", "displacement" or "stored".
        sh_degree: degree of the harmonics for "sh".
        normalise: how the stored frame was chosen: "none", "centre" or "unit".
        k: neighbours per node, if it is a nearest-neighbour graph.
    """
    attributes = None if sample.edge_attr is None else torch.from_numpy(_array(sample.edge_attr, np.float32))
    content = {
        "node_features": torch.from_numpy(_array(sample.node_features, np.float32)),
        "edge_index": torch.from_numpy(sample.edge_index),
        "edge_attr": attributes,
        "point_cloud": torch.from_numpy(_array(sample.pos, np.float32)),
        "target": torch.from_numpy(_array(sample.target, np.float64)),
        "vectors": None if sample.vectors is None else torch.from_numpy(_array(sample.vectors, np.float32)),
        "num_nodes": len(sample.in_degree),
        "num_edges": len(sample.edge_source),
        "metadata": {
            "k_neighbors": k,
            "use_spherical_harmonics": edge_attr == "sh",
            "max_sh_degree": sh_degree,
            "edge_attr_dim": 0 if attributes is None else attributes.shape[1],
            "normalized_pointcloud": normalise == "unit",
            "object_name": sample.object_name,
            "bounding_radius": sample.bounding_radius,
            "origin": [float(value) for value in sample.origin],
            "scale": sample.scale,
            "num_views": sample.num_views,
            **_payload(sample),
        },
    }
    with atomic_file(path, durable=False) as file:
        torch.save(content, file)


def write_dataset_metadata(folder: Path, files: Iterable[Mapping[str, Any]], **fields: Any) -> None:
    """Write ``dataset_metadata.json``.

    Args:
        folder: the folder of the sample files.
        files: one mapping per file with at least ``filename`` and ``object_name``.
        fields: anything else that applies to the whole folder, e.g. ``feature_names``.
    """
    content = {**fields, "files": [dict(entry) for entry in files]}
    write_atomically(folder / METADATA_FILE, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def _load(path: Path) -> Any:
    whole = _bytes(path)
    try:
        return read_archive(whole)
    except UnusualArchiveError:
        pass
    try:
        content, broken = load_plain(bytes(whole))
    except InputError as error:
        raise SampleError(str(error)) from error
    except UnpicklingError as error:
        raise SampleError(foreign.reason(bytes(whole))) from error
    except Exception as error:  # damaged bytes can make the unpickler raise anything
        raise SampleError(f"is not a readable .pt file ({type(error).__name__})") from error
    if broken is not None:
        raise SampleError(f"is damaged: the checksum of {broken} in it is wrong")
    return content


def _bytes(path: Path) -> bytearray:
    try:
        return bytearray(path.read_bytes())
    except OSError as error:
        raise SampleError(refusal(path, error)) from error


def _array(values: Any, dtype: type) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=dtype)


def _tensor(content: Mapping[str, Any], key: str) -> torch.Tensor:
    value = content[key]
    if not isinstance(value, torch.Tensor):
        raise SampleError(
            f"{key} is a {type(value).__name__} where a tensor is expected: save torch.tensor(...) of it"
        )
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise SampleError(f"{key} is not an ordinary dense tensor")
    return value.detach()


def _floats(content: Mapping[str, Any], key: str, shape: tuple[int | None, int | None]) -> Float:
    tensor = _tensor(content, key)
    if not tensor.is_floating_point():
        raise SampleError(f"{key} is {_dtype(tensor)} where floating point is expected")
    fits = tensor.ndim == 2 and all(
        want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise SampleError(f"{key} has shape {list(tensor.shape)} where [{wanted}] is expected")
    # A copy: a view would keep the whole file in memory.
    return tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format).numpy()


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _target(content: Mapping[str, Any]) -> Float:
    tensor = _tensor(content, "target")
    if not tensor.is_floating_point():
        raise SampleError(f"target is {_dtype(tensor)} where floating point is expected")
    if tensor.shape not in ((3,), (1, 3)):
        raise SampleError(f"target has shape {list(tensor.shape)} where [3] is expected")
    return tensor.reshape(3).to(torch.float64).numpy()


def _edges(content: Mapping[str, Any], num_nodes: int) -> tuple[Int, Int, Int]:
    """Return in-degrees, sources sorted by target, and the stable order that sorts them."""
    tensor = _tensor(content, "edge_index")
    if tensor.dtype not in (torch.int64, torch.int32, torch.int16):
        raise SampleError(f"edge_index is {_dtype(tensor)} where integers are expected")
    if tensor.ndim != 2 or tensor.shape[0] != 2:
        raise SampleError(f"edge_index has shape {list(tensor.shape)} where [2, E] is expected")
    edges = tensor.numpy()
    if edges.size and not 0 <= edges.min() <= edges.max() < num_nodes:
        wrong = edges[(edges < 0) | (edges >= num_nodes)][0]
        raise SampleError(f"edge_index names node {wrong}, and there are {num_nodes} nodes")
    short = np.uint16 if num_nodes <= 2**16 else np.int32  # numpy sorts these by their digits, in linear time
    order = np.argsort(edges[1].astype(short), kind="stable")
    in_degree = np.bincount(edges[1], minlength=num_nodes).astype(np.int32)
    return in_degree, edges[0][order].astype(np.int32), order


def _check_counts(content: Mapping[str, Any], num_nodes: int, num_edges: int) -> None:
    for key, found in (("num_nodes", num_nodes), ("num_edges", num_edges)):
        stated = content.get(key)
        if isinstance(stated, torch.Tensor) and stated.numel() == 1:
            stated = stated.item()
        if stated is not None and not isinstance(stated, int | float):
            raise SampleError(f"{key} says no number but a {type(stated).__name__}")
        if stated is not None and stated != found:
            raise SampleError(f"{key} says {stated!r}, and there are {found}")


def _number(metadata: Mapping[str, Any], key: str, default: float) -> float:
    value = metadata.get(key)
    if value is None or (key in ("bounding_radius", "volume") and value != value):
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SampleError(f"metadata {key} is a {type(value).__name__} where a number is expected")
    if not (0 <= value < _LARGEST) or (value == 0 and key != "num_views"):
        raise SampleError(f"metadata {key} is {value}, which is no possible value")
    return float(value)


def _payload(sample: Sample) -> dict[str, Any]:
    """Volume and inertia, if they are known: they are not part of the documented layout."""
    volume = {"volume": sample.volume} if np.isfinite(sample.volume) else {}
    return volume if sample.inertia is None else {**volume, "inertia": sample.inertia.tolist()}


def _inertia(metadata: Mapping[str, Any]) -> Float | None:
    value = metadata.get("inertia")
    if value is None:
        return None
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (3, 3) or not np.isfinite(found).all():
        raise SampleError("metadata inertia is not three rows of three finite numbers")
    return found


def _origin(metadata: Mapping[str, Any]) -> tuple[float, float, float]:
    value = metadata.get("origin")
    if value is None:
        return (0.0, 0.0, 0.0)
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise SampleError("metadata origin is not a list of three numbers")
    if not all(isinstance(number, int | float) and abs(number) < _LARGEST for number in value):
        raise SampleError("metadata origin is not three finite numbers")
    return (float(value[0]), float(value[1]), float(value[2]))
