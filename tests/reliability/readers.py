"""Every reader of files, with valid seed files and the properties that results of damaged files must have.

A reader's ``read`` gets a folder and the bytes of a file, reads them as a command would, and returns a digest
of the whole result. It raises InputError for a refused file and Unsound for a value that no command may see.
For a format with checksums (``sealed``), damage must be refused or change nothing. The others guarantee what
can be checked in a value: finite numbers, matching shapes, indices in range.
"""

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plumbline import cli
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import METADATA_FILE, list_pt, read_pt, write_dataset_metadata, write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, load_scan, read_labels, scan_of
from plumbline.geometry.meshes import load_mesh
from plumbline.models import build_model
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, seal
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import Sample
from tests.helpers.point_files import ORDERS, Column, pcd_bytes, ply_bytes, ply_points
from tests.helpers.preparing import BOX, BOX_FACES, write_off
from tests.helpers.random_samples import FEATURES, random_sample
from tests.reliability.mutations import Rng, mutate, mutate_zip

Mutation = Callable[[bytes, list[bytes], Rng], bytes]


class Unsound(AssertionError):
    """A reader handed out a value that breaks its own promises."""


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        seeds: makes files that are read, in an empty folder.
        read: what a command would do with such a file; see the module's docstring.
        mutate: how its files are damaged.
        sealed: whether damage that ``mutate`` does must be refused or change nothing.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, bytes], str]
    mutate: Mutation = mutate
    sealed: bool = False


def digest(value: Any) -> str:
    """A hash of arrays, records, containers and plain values."""
    return hashlib.sha256(_plain(value).encode()).hexdigest()[:16]


def _plain(value: Any) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain([getattr(value, item.name) for item in fields(value)])
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_plain(key)}:{_plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_plain, value)) + "]"
    return repr(value)


def hold(condition: object, text: str) -> None:
    """Raises Unsound unless the condition holds."""
    if not condition:
        raise Unsound(text)


def check_sample(sample: Sample) -> None:
    """What every graph that is read must hold."""
    num = len(sample.in_degree)
    hold(num > 0 and sample.node_features.shape[0] == num, "rows of node_features")
    hold(int(sample.in_degree.sum()) == len(sample.edge_source), "in_degree adds up")
    hold((sample.in_degree >= 0).all(), "in_degree is negative")
    source = sample.edge_source
    hold(not source.size or 0 <= source.min() <= source.max() < num, "edge_source in range")
    for name in ("node_features", "target", "edge_attr", "point_cloud", "vectors", "origin", "scale"):
        value = getattr(sample, name)
        hold(value is None or np.isfinite(value).all(), f"{name} finite")
    hold(sample.scale > 0 and sample.target.shape == (3,) and sample.pos.shape == (num, 3), "shapes")
    hold(sample.object_name, "a name")


# ------------------------------------------------------------------------------------------- data sets


def _samples() -> list[Sample]:
    rng = np.random.default_rng(5)
    cloud = rng.normal(size=(5, 3)).astype(np.float32)
    up = np.ones((1, 3), np.float32)
    return [
        random_sample(rng, num_nodes=4, edge_dim=2, vectors=up),
        random_sample(rng, num_nodes=5, edge_dim=2, point_cloud=cloud, vectors=up),
        random_sample(rng, num_nodes=1, in_degree=np.zeros(1, np.int32), edge_source=np.zeros(0, np.int32),
                      edge_attr=np.zeros((0, 2), np.float32), vectors=up),
    ]  # fmt: skip


def _pt_seeds(folder: Path) -> list[bytes]:
    for number, sample in enumerate(_samples()):
        write_pt(folder / f"{number}.pt", sample, edge_attr="stored", k=3)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _read_pt(folder: Path, data: bytes) -> str:
    (folder / "cup_sample1.pt").write_bytes(data)
    sample = read_pt(folder / "cup_sample1.pt")
    check_sample(sample)
    return digest(sample)


def _metadata_seeds(folder: Path) -> list[bytes]:
    entries = [{"filename": "a.pt", "object_name": "cup/α"}, {"filename": "b.pt", "object_name": "b"}]
    write_dataset_metadata(
        folder, entries, feature_names=list(FEATURES), vector_names=["up"], leaders=3, normalise="unit",
        rejected=[{"source": "c.pt", "reason": "is empty"}], provenance={"source": "test", "seed": 1},
    )  # fmt: skip
    return [(folder / METADATA_FILE).read_bytes(), b'{"files": []}']


def _read_metadata(folder: Path, data: bytes) -> str:
    if not (folder / "a.pt").exists():
        for name, sample in zip("ab", _samples(), strict=False):
            write_pt(folder / f"{name}.pt", sample, edge_attr="stored", k=3)
    shutil.rmtree(folder / ".plumbline-cache", ignore_errors=True)
    (folder / METADATA_FILE).write_bytes(data)
    names = [name for _, name in list_pt(folder)]
    store = open_data(folder)
    for number in range(len(store)):
        check_sample(store.sample(number))
    hold(not verify(store), "a cache without faults")
    return digest(
        [names, store.feature_names, store.vector_names, store.k, store.normalise, store.object_names]
    )


_STORE_FILES = ("manifest.json", "index.safetensors", "shard-00000.safetensors", "shard-00001.safetensors")


def _store_seeds(folder: Path) -> list[bytes]:
    """Each file of a store with a first byte that says which one it is."""
    names = {"feature_names": FEATURES, "vector_names": ["up"]}
    write_store(folder / "s", [*_samples(), *_samples()], edge_attr="stored", shard_bytes=500, **names)
    return [bytes([number]) + (folder / "s" / name).read_bytes() for number, name in enumerate(_STORE_FILES)]


def _mutate_after_first(data: bytes, others: list[bytes], rng: Rng) -> bytes:
    return data[:1] + mutate(data[1:], [other[1:] for other in others], rng)


def _mutate_array_file(data: bytes, others: list[bytes], rng: Rng) -> bytes:
    """Of an index or a shard."""
    return _mutate_after_first(others[1 + int(rng.integers(len(others) - 1))], others, rng)


def _mutate_trusted(data: bytes, others: list[bytes], rng: Rng) -> bytes:
    """Any file, with a first byte that asks for a manifest which agrees with it."""
    changed = _mutate_after_first(data, others, rng)
    return bytes([changed[0] + 128]) + changed[1:]


def _read_store(folder: Path, data: bytes) -> str:
    store_folder = folder / "s"
    if not store_folder.exists():
        _store_seeds(folder)
    kept = {name: (store_folder / name).read_bytes() for name in _STORE_FILES}
    which, content = (data[0], data[1:]) if data else (0, b"")
    name = _STORE_FILES[which % 4]
    try:
        (store_folder / name).write_bytes(content)
        if which >= 128 and which % 4:
            manifest = json.loads(kept["manifest.json"])
            for item in [manifest["index"], *manifest["shards"]]:
                if item["file"] == name:
                    item.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            (store_folder / "manifest.json").write_text(json.dumps(manifest))
        store = PackedStore.open(store_folder)
        problems = verify(store, deep=True)
        if problems:
            raise InputError(problems[0])
        samples = [store.sample(number) for number in range(len(store))]
        for sample in samples:
            check_sample(sample)
        return digest(samples)
    finally:
        for name, whole in kept.items():
            (store_folder / name).write_bytes(whole)


# -------------------------------------------------------------------------------------- meshes, clouds


def _mesh_seeds(suffix: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        import trimesh

        box = trimesh.Trimesh(BOX, BOX_FACES, process=False)
        if suffix == "off":
            write_off(folder / "a.off", BOX)
        else:
            box.export(folder / f"a.{suffix}")
        found = [(folder / f"a.{suffix}").read_bytes()]
        if suffix in ("stl", "ply"):
            text = box.export(file_type="stl_ascii" if suffix == "stl" else "ply", **(
                {} if suffix == "stl" else {"encoding": "ascii"}))  # fmt: skip
            found.append(text.encode() if isinstance(text, str) else text)
        if suffix == "gltf":  # with its numbers within
            scene = json.loads(found[0])
            for buffer in scene["buffers"]:
                raw = (folder / buffer["uri"]).read_bytes()
                buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(raw).decode()
            found = [json.dumps(scene).encode()]
        return found

    return seeds


def _read_mesh(suffix: str) -> Callable[[Path, bytes], str]:
    def read(folder: Path, data: bytes) -> str:
        path = folder / f"a.{suffix}"
        path.write_bytes(data)
        found = []
        for target in ("shell", "solid"):
            solid = load_mesh(path, name="a", target=target)
            hold(np.isfinite(solid.vertices).all() and np.isfinite(solid.com).all(), "finite")
            hold(np.isfinite(solid.volume) and np.isfinite(solid.bounding_radius), "finite volume and radius")
            hold(0 <= solid.faces.min() <= solid.faces.max() < len(solid.vertices), "faces in range")
            hold(target == "shell" or solid.volume > 0, "a volume")
            found.append(solid)
        return digest(found)

    return read


def _cloud_seeds(suffix: str) -> Callable[[Path], list[bytes]]:
    points = np.random.default_rng(2).normal(size=(12, 3)).round(4) + 3

    def seeds(folder: Path) -> list[bytes]:
        file = folder / f"a.{suffix}"
        if suffix in ("las", "laz"):
            import laspy

            cloud = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
            cloud.x, cloud.y, cloud.z = points.T
            cloud.write(file)
        elif suffix == "pcd":
            fields = [(axis, "f4", column) for axis, column in zip("xyz", points.T, strict=True)]
            for number, data in enumerate(("ascii", "binary", "binary_compressed")):
                (folder / f"{number}.pcd").write_bytes(pcd_bytes(fields, data))
        elif suffix == "ply":
            vertices = {"vertex": ply_points(points), "range_grid": [Column("i", "i4", [[0], [], [1]], "u1")]}
            for number, form in enumerate(ORDERS):
                (folder / f"{number}.ply").write_bytes(ply_bytes(vertices, form))
        elif suffix == "npy":
            np.save(file, points)
            np.save(folder / "b.npy", points.astype(np.float32))
        elif suffix == "npz":
            np.savez(file, points=points, sensor=np.zeros(3))
            np.savez_compressed(
                folder / "b.npz", points=points, sensor_positions=np.eye(3), view=np.arange(12) % 3
            )
        elif suffix == "ptx":
            frame = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n0 1 0 0\n-1 0 0 0\n0 0 1 0\n2 3 4 1\n"
            rows = "".join(" ".join(map(str, row)) + " 0.5\n" for row in points.tolist())
            file.write_text(f"4\n3\n{frame}{rows}")
            (folder / "b.ptx").write_text(f"12\n1\n{frame}{rows}2\n1\n{frame}1 2 3 0.5\n0 0 0 0.5\n")
        else:
            np.savetxt(file, points, fmt="%.4f", delimiter="," if suffix == "csv" else " ",
                       header="x,y,z" if suffix == "csv" else "", comments="")  # fmt: skip
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    return seeds


def _read_cloud(suffix: str) -> Callable[[Path, bytes], str]:
    def read(folder: Path, data: bytes) -> str:
        path = folder / f"a.{suffix}"
        path.write_bytes(data)
        scan = scan_of(load_cloud(path), None)
        hold(np.isfinite(scan.points).all() and np.isfinite(scan.sensor).all(), "finite")
        hold(scan.points.shape == scan.sensor.shape == (len(scan.view), 3), "shapes")
        return digest(scan)

    return read


def _label_seeds(_: Path) -> list[bytes]:
    head = b"file,com_x,com_y,com_z,object_name,sensor_x,sensor_y,sensor_z,bounding_radius\n"
    return [
        head + b'a.xyz,1,2,3,"cup, red",0,0,1.5,0.2\na.xyz,1e-3,2,3,,,,,\n',
        b"file,com_x,com_y,com_z\na.xyz,1,2,3\n",
    ]


def _read_labels(folder: Path, data: bytes) -> str:
    (folder / "a.xyz").write_text("0 0 1\n0 1 1\n1 0 1\n")
    (folder / "labels.csv").write_bytes(data)
    found = []
    for label in read_labels(folder / "labels.csv"):
        hold(label.com.shape == (3,) and np.isfinite(label.com).all(), "a finite centre of mass")
        hold(label.object_name, "a name")
        found.append([load_scan(label), label.object_name])
    return digest(found)


# --------------------------------------------------------------------------------- configs, checkpoints


def _config_seeds(_: Path) -> list[bytes]:
    return [
        b"recipe: best\nlr: 1.0e-3\nbatch_size: 32\nmax_epochs: 3\nmodel: ept\nensemble: 2\n",
        b"# Training\ndata-dir: data\nloader: resident\nbatch_size: 8\nval_split: 0.2\n",
    ]


def _read_config(folder: Path, data: bytes) -> str:
    (folder / "config.yaml").write_bytes(data)
    return digest(cli.parse("train", ["--config", str(folder / "config.yaml")]))


def _checkpoint_seeds(_: Path) -> list[bytes]:
    arguments = {"input_dim": 4, "hidden_dim": 4, "num_layers": 2}
    torch.manual_seed(0)
    model = build_model("gcn", **arguments)
    trained_on = TrainedOn(
        data_dir="data", fingerprint="f" * 64, feature_names=("x", "y", "z", "w"), vector_names=("hull",),
        leaders=0, k=4, edge_attr="none", sh_degree=None, normalise="unit", num_train=9, num_val=1,
        objects="0" * 16, val_split=0.1, split_by="object", seed=0,
    )  # fmt: skip
    content = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "plumbline": {
            "format": FORMAT, "model": "gcn", "model_args": arguments, "config": {"lr": 0.001},
            "data": trained_on.to_dict(), "metrics": {"val_loss": 1.5},
            "calibration": Calibration().to_dict(), "epochs_done": 3,
        },
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return [seal(buffer.getvalue())]


def _mutate_sealed(data: bytes, others: list[bytes], rng: Rng) -> bytes:
    return seal(mutate_zip(data, others, rng))


def _read_checkpoint(folder: Path, data: bytes) -> str:
    (folder / "a.ckpt").write_bytes(data)
    trained = load_checkpoint(folder / "a.ckpt")
    state = trained.model.state_dict()
    return digest(
        [
            state,
            trained.model_name,
            trained.model_args,
            trained.config,
            trained.data.to_dict(),
            trained.metrics,
        ]
    )


READERS: dict[str, Reader] = {
    "pt": Reader(_pt_seeds, _read_pt, sealed=True),
    "pt-repacked": Reader(_pt_seeds, _read_pt, mutate_zip),
    "pt-metadata": Reader(_metadata_seeds, _read_metadata),
    "store": Reader(_store_seeds, _read_store, _mutate_array_file, sealed=True),
    "store-trusted": Reader(_store_seeds, _read_store, _mutate_trusted),
    "labels": Reader(_label_seeds, _read_labels),
    "config": Reader(_config_seeds, _read_config),
    "checkpoint": Reader(_checkpoint_seeds, _read_checkpoint, sealed=True),
    "checkpoint-resealed": Reader(_checkpoint_seeds, _read_checkpoint, _mutate_sealed),
    **{f"mesh-{suffix}": Reader(_mesh_seeds(suffix), _read_mesh(suffix))
       for suffix in ("off", "obj", "stl", "ply", "glb", "gltf", "dae")},
    "mesh-3mf": Reader(_mesh_seeds("3mf"), _read_mesh("3mf"), mutate_zip),
    **{f"cloud-{suffix}": Reader(_cloud_seeds(suffix), _read_cloud(suffix))
       for suffix in ("xyz", "csv", "ply", "pcd", "ptx", "npy", "npz", "las", "laz")},
    "cloud-npz-repacked": Reader(_cloud_seeds("npz"), _read_cloud("npz"), mutate_zip),
}  # fmt: skip
