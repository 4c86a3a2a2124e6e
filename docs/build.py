"""Writes the parts of the documentation that the program itself knows: ``python -m docs.build``.

``docs/flags.md`` is the table of every flag. ``docs/model-card.md`` gets what the shipped weights and the
list of their meshes say. ``docs/figures/overview.png`` shows a built-in solid, its scan and its graph, made
by the real functions; ``docs/figures/prediction.png``, the picture of the README, the shipped model's answer.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from docs.model_card import with_facts
from docs.prediction import draw
from plumbline.cli import VERBS
from plumbline.config.options import Option
from plumbline.config.parts import own_options
from plumbline.models import MODELS

DOCS = Path(__file__).parent


def flags_page() -> str:
    """Every verb's flags with defaults and meaning, as Markdown."""
    lines = [
        "# Flags",
        "",
        "Written by `make docs` from the program; a test compares. Every flag is also a key of a `--config`",
        "file and may be spelt with dashes. Precedence: default, then `--config FILE`, then the flag itself;",
        "`--print_config` shows the result. `--no_x` turns off a flag `--x` that is on.",
    ]
    for verb, entry in VERBS.items():
        lines += ["", f"## plumbline {verb}", "", entry.summary, "", *_table(entry.config.options().values())]
        for model in MODELS if verb == "train" else ():
            if own := own_options(model):
                lines += ["", f"In addition with `--model {model}`:", "", *_table(own.values())]
    return "\n".join(lines) + "\n"


def _table(options: Iterable[Option]) -> list[str]:
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for item in options:
        off = "off" if isinstance(item.default, bool) else "none"
        shown = "on" if item.default is True else f"`{item.shown}`" if item.shown else off
        name = item.metavar or item.kind.metavar if item.positional else f"--{item.name}"
        choices = f" ({', '.join(item.kind.choices)})" if item.kind.choices else ""
        lines.append(f"| `{name}` | {shown} | {item.help}{choices} |")
    return lines


def overview(path: Path) -> None:
    """Solid, scan and graph of one mug, side by side, with its centre of mass."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

    from plumbline.geometry.graphs import build_sample
    from plumbline.geometry.raycast import Caster
    from plumbline.geometry.scans import scan_solid
    from plumbline.geometry.solids import make_solid
    from plumbline.records import Range, ScanSettings

    solid = next(solid for solid in (make_solid(0, i) for i in range(1000)) if "/mug/" in solid.name)
    scan = scan_solid(
        solid,
        Caster(solid.vertices, solid.faces),
        ScanSettings(noise=Range(0.005), rotate=False),
        rng=np.random.default_rng(3),
    )
    sample = build_sample(scan, k=8, edge_attr="none", sh_degree=0, normalise="none", object_name=solid.name)
    ink, blue, red = "#33373d", "#2c6fbb", "#d1495b"
    figure = plt.figure(figsize=(12, 4), dpi=150)
    titles = ("the object", "what one sensor sees of it", "the graph, and the centre of mass")
    for place, title in enumerate(titles):
        axes = figure.add_subplot(1, 3, place + 1, projection="3d")
        triangles = solid.vertices[solid.faces]
        if place == 0:
            normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            # Painted in order of depth, a far wall may cover a near one: leave out what faces away.
            towards = np.array([np.cos(-np.pi / 3), np.sin(-np.pi / 3), np.tan(np.pi / 6)])
            triangles, normals = triangles[normals @ towards > 0], normals[normals @ towards > 0]
            light = 0.55 + 0.4 * np.clip(normals @ np.array([0.4, -0.5, 0.77]), -1, 1)
            axes.add_collection3d(
                Poly3DCollection(triangles, facecolors=np.outer(light, [0.75, 0.8, 0.88]).clip(0, 1))
            )
        else:
            axes.scatter(*scan.points.T, s=5, color=blue, depthshade=True)
        if place == 2:
            source, target = sample.edge_index
            pairs = np.stack([sample.pos[source], sample.pos[target]], axis=1)
            axes.add_collection3d(Line3DCollection(pairs, colors=blue, linewidths=0.35, alpha=0.5))
            axes.scatter(*scan.com, s=90, color=red)
        middle, radius = solid.bounding_centre, 0.72 * solid.bounding_radius
        for axis, value in zip("xyz", middle, strict=True):
            getattr(axes, f"set_{axis}lim")(value - radius, value + radius)
        axes.set_box_aspect((1, 1, 1))
        axes.set_axis_off()
        axes.set_title(title, color=ink, fontsize=12, y=-0.02)
    figure.subplots_adjust(0, 0.05, 1, 1.05, wspace=0)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Writes them all."""
    (DOCS / "flags.md").write_text(flags_page(), encoding="utf-8")
    card = DOCS / "model-card.md"
    card.write_text(with_facts(card.read_text(encoding="utf-8")), encoding="utf-8")
    overview(DOCS / "figures" / "overview.png")
    draw(DOCS / "figures" / "prediction.png")
    print("docs/flags.md, docs/model-card.md, docs/figures/overview.png and prediction.png written")


if __name__ == "__main__":
    main()
