"""The parts of ``docs/model-card.md`` that the shipped file and the list of meshes know."""

import hashlib
import re
from collections import Counter

from plumbline.predictors.checkpoint import load_checkpoint, read_checkpoint
from plumbline.predictors.find_checkpoint import SHIPPED
from pretrained.sources import read_sources


def with_facts(page: str) -> str:
    """The page, with what stands between its marks ``<!-- NAME -->`` and ``<!-- end -->`` written again."""
    for name, write in (("model", _model_table), ("sources", _sources_table), ("licences", _licences)):
        text = write()
        page, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda mark, text=text: f"{mark[1]}{text}\n{mark[2]}",
            page,
            flags=re.DOTALL,
        )
        assert found == 1, f"docs/model-card.md has no place for {name}"
    return page


def _model_table() -> str:
    """Facts about the shipped file, as Markdown."""
    trained, ours = load_checkpoint(SHIPPED), read_checkpoint(SHIPPED)["plumbline"]
    weights = sum(values.numel() for values in trained.model.parameters())
    data, config, members = trained.data, trained.config, trained.model_args["members"]
    points = " to ".join(map(str, data.num_points or ("not recorded",)))
    facts = {
        "network": f"mean of {len(members)} `{members[0]['model']}`, {weights:,} weights, symmetry "
        f"{trained.model.symmetry}",
        "file": f"`pretrained/{SHIPPED.name}`, {SHIPPED.stat().st_size:,} bytes",
        "SHA-256": f"`{hashlib.sha256(SHIPPED.read_bytes()).hexdigest()}`",
        "recipe": f"`--recipe {config['recipe']}`, seed {config['seed']}",
        "training": f"{data.num_train:,} scans each, {ours['global_step']:,} steps in all",
        "validation": f"{100 * data.val_split:g} % of the objects, which no member was trained on; mean miss "
        f"{100 * trained.metrics['val_error_rel']:.2f} % of the radius",
        "points per scan": points,
        "fingerprint of the first member's data set": f"`{data.fingerprint}`",
        "versions": ", ".join(f"{name} {version}" for name, version in ours["versions"].items()),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())])


def _sources_table() -> str:
    """The collections of real meshes, largest first, as Markdown."""
    counts = Counter((mesh.source, mesh.kind, mesh.repository, mesh.licence) for mesh in read_sources())
    rows = []
    for (source, kind, place, licence), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        link = f"[{place}](https://github.com/{place})"
        rows.append(f"| {source} | {kind.replace('_', ' ')} | {link} | {licence} | {count:,} |")
    head = ["| source | kind | repository | licence | objects |", "|---|---|---|---|---|"]
    total = f"| **{len({key[0] for key in counts})} sources** | | | | **{counts.total():,}** |"
    return "\n".join([*head, *rows, total])


def _licences() -> str:
    """How many meshes there are of each licence, without the remarks in brackets."""
    counts = Counter(re.sub(r" \(.*", "", mesh.licence) for mesh in read_sources())
    return ", ".join(f"{licence} {count:,}" for licence, count in counts.most_common()) + "."
