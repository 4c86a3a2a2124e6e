"""The losses of twenty steps of every network, and the machine that they were computed on.

    python -m tests.golden.losses --write    # after a change that moves them; say why in the commit

Data, weights, order and dropout come from seeds, and the steps are those of ``plumbline train``: what moves a
digit of the losses moves a training.
"""

import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
FILE = TESTS / "golden" / "losses.json"
STEPS = 20
SEED = 5

SETTINGS: dict[str, dict[str, Any]] = {
    "gcn": {"hidden_dim": 16, "num_layers": 3},
    "pointnet": {"hidden_dim": 16},
    "egnn": {"hidden_dim": 16},
    "painn": {"hidden_dim": 16},
    "steerable": {"hidden_dim": 16},
    "framed": {"hidden_dim": 16},
    "ept": {
        "recipe": "best",
        "hidden_dim": 16,
        "num_layers": 2,
        "model_args": ["num_tokens=8", "num_neighbours=6", "patch_dim=16"],
    },
}
"""Further flags of each: the documented recipe at small width, and the best one for the best network."""


def machine() -> dict[str, str]:
    """What decides which kernels run, and so when bits can be expected to agree."""
    import numpy as np
    import torch

    said = torch.__config__.show()
    libraries = re.findall(r"(?:Math Kernel Library|MKL-DNN).*?(?= for | \(|$)", said, re.MULTILINE)
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "libraries": "; ".join(libraries),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def _processor() -> str:
    """Name, family, model and cache of the processor, and the widths that libraries choose kernels by."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.processor()
    facts = dict(re.findall(r"^([^\t:]+?)\s*: (.*)$", text, re.MULTILINE))
    said = [facts.get(name, "?") for name in ("model name", "cpu family", "model", "stepping", "cache size")]
    wide = [flag for flag in facts.get("flags", "").split() if re.match(r"avx|fma|amx", flag)]
    return ", ".join([*said, " ".join(sorted(wide))])


def losses(data: Path, model: str, **changed: Any) -> list[float]:
    """The loss of every step of a training through ``plumbline train``; ``changed`` are other flags."""
    from plumbline.training.loop.task import CentreOfMassTask
    from tests.helpers.training_fixtures import train

    found: list[float] = []
    step = CentreOfMassTask.training_step

    def recorded(self: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        assert loss is not None
        found.append(loss.item())
        return loss

    CentreOfMassTask.training_step = recorded  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            flags = {"model": model, "max_epochs": 4, **SETTINGS[model], "seed": SEED, **changed}
            outcome = train(data, Path(folder), **flags)
    finally:
        CentreOfMassTask.training_step = step  # type: ignore[method-assign]
    assert outcome.code == 0, outcome.text
    return found


def compute() -> dict[str, Any]:
    """What the file holds: the machine, the data's fingerprint, and the losses of every network."""
    from plumbline.data.store.reader import PackedStore
    from tests.helpers.training_fixtures import write_seeded

    with tempfile.TemporaryDirectory() as folder:
        data = write_seeded(Path(folder) / "data")
        found = {model: losses(data, model) for model in SETTINGS}
        return {"machine": machine(), "fingerprint": PackedStore.open(data).fingerprint, "losses": found}


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(TESTS))
    text = json.dumps(compute(), indent=1) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(text, encoding="utf-8")
    else:
        print(text)
