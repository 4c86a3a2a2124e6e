"""The extensions of glTF: which ones can change the geometry, and which of those are read."""

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.gltf_json import Record, read_record, read_texts

_READ = {"EXT_mesh_gpu_instancing", "KHR_mesh_quantization", "KHR_node_visibility", "MSFT_lod"}
"""Extensions of the geometry that are read."""
_OTHER_SUBJECTS = (
    *("KHR_materials_", "KHR_texture_", "KHR_techniques_", "KHR_lights_", "KHR_xmp", "KHR_animation_"),
    *("EXT_materials_", "EXT_texture_", "EXT_lights_", "MSFT_texture_", "MSFT_packing_"),
    *("ADOBE_materials_", "NV_materials_", "KHR_audio", "KHR_node_selectability", "KHR_node_hoverability"),
    *("EXT_mesh_features", "EXT_instance_features", "EXT_structural_metadata", "EXT_feature_metadata"),
    *("EXT_mesh_manifold", "FB_ngon_encoding", "CESIUM_primitive_outline", "GODOT_single_root"),
)
"""Starts of names of extensions about anything but the geometry of the scene as it stands."""


def check_required(root: Record) -> None:
    """Refuse a file that needs an extension which may change the geometry and is not read.

    Raises:
        GltfError: the list of extensions is not valid.
        MeshError: an extension is needed.
    """
    for name in read_texts(root, "extensionsRequired"):
        if _is_unread(name):
            _refuse(name)


def refuse_unread(record: Record) -> None:
    """Refuse by name what has no numbers of its own because an extension holds them; return if none does.

    Raises:
        GltfError: the extensions are not valid.
        MeshError: an extension holds the numbers.
    """
    for name in read_record(record, "extensions"):
        if _is_unread(name):
            _refuse(name)


def _is_unread(name: str) -> bool:
    return name not in _READ and not name.startswith(_OTHER_SUBJECTS)


def _refuse(name: str) -> None:
    shown = name if name.isidentifier() and len(name) < 100 else repr(name[:100])
    fix = "without compression" if "compression" in name else "without it"
    raise MeshError(f"needs the glTF extension {shown}, which is not supported; export it {fix}")
