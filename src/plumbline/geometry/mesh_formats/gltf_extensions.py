"""The extensions of glTF: which ones can change the geometry, and which of those are read."""

from collections.abc import Iterable

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import show

_READ = {"EXT_mesh_gpu_instancing", "KHR_mesh_quantization", "KHR_node_visibility", "MSFT_lod"}
"""Extensions of the geometry that are read."""
_OTHER_SUBJECTS = (
    *("KHR_materials_", "KHR_texture_", "KHR_techniques_", "KHR_lights_", "KHR_xmp", "KHR_animation_"),
    *("EXT_materials_", "EXT_texture_", "EXT_lights_", "MSFT_texture_", "MSFT_packing_"),
    *("ADOBE_materials_", "NV_materials_", "KHR_audio", "KHR_node_selectability", "KHR_node_hoverability"),
    *("EXT_mesh_features", "EXT_instance_features", "EXT_structural_metadata", "EXT_feature_metadata"),
    *("EXT_mesh_manifold", "FB_ngon_encoding", "CESIUM_primitive_outline", "GODOT_single_root"),
)
"""How the names of extensions begin that do not change the geometry of a scene at rest."""


def refuse_unread(names: Iterable[str]) -> None:
    """Refuse an extension that may change the geometry and is not read; return if there is none.

    Raises:
        MeshError: there is one; the message names it.
    """
    for name in names:
        if name not in _READ and not name.startswith(_OTHER_SUBJECTS):
            shown = name if name.isidentifier() and len(name) < 100 else show(name)
            fix = "without compression" if "compression" in name else "without it"
            raise MeshError(f"needs the glTF extension {shown}, which is not supported; export it {fix}")
