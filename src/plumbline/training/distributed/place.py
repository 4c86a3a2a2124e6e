"""The place of this process among those of one training, as the program that started it says.

Imports nothing large: a wrong start is refused before torch is imported.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from plumbline.errors import InputError

PLACE = "PLUMBLINE_PLACE"
"""Environment variable that holds the place of a process that the first one has started, as JSON."""


class Place(NamedTuple):
    """One of the processes of a training.

    Attributes:
        rank: its number, from 0; the first one writes the files and talks to the user.
        size: number of processes.
        local_rank: its number on its host, and so that of its GPU.
        local_size: number of processes on its host.
        starter: what started it: ``"torchrun"``, ``"srun"`` or ``"plumbline"``.
        address, port: host and TCP port of the first process, where they meet; torchrun's own if 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    starter: str = "plumbline"
    address: str = "127.0.0.1"
    port: int = 0


def given_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place that torchrun, srun or plumbline has given this process; None if it was started alone.

    In a batch script of SLURM the variables of the job are set as well, but its one step has one task.
    """
    if PLACE in environment:
        return Place(*json.loads(environment[PLACE]))
    if "TORCHELASTIC_RUN_ID" in environment:
        size = int(environment.get("WORLD_SIZE", "1"))
        rank, local_rank = (int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
        here = int(environment.get("LOCAL_WORLD_SIZE", str(size)))
        found = Place(rank, size, local_rank, here, "torchrun", environment.get("MASTER_ADDR", ""))
        return found if size > 1 else None
    size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if size == 1 or "SLURM_PROCID" not in environment:
        return None
    return Place(
        int(environment["SLURM_PROCID"]),
        size,
        int(environment.get("SLURM_LOCALID", "0")),
        _tasks_here(environment),
        "srun",
        environment.get("MASTER_ADDR") or _first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        int(environment.get("MASTER_PORT") or _port(environment)),
    )


def _port(environment: Mapping[str, str]) -> int:
    """A port that no other step of SLURM on this host uses, most likely."""
    job, step = (int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return 15000 + (job + 37 * step) % 20000


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Tasks of this step on this host, from a list such as ``4(x2),3``."""
    each: list[int] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        tasks, _, times = part.partition("(x")
        each += [int(tasks)] * int(times.rstrip(")") or "1")
    return each[min(int(environment.get("SLURM_NODEID", "0")), len(each) - 1)]


def _first_host(nodes: str) -> str:
    """The first host of a list such as ``gpu[03-05,9],cpu1``."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first)


def check_place(devices: int, num_nodes: int, place: Place | None) -> None:
    """Refuse a number of processes that is not ``--devices`` times ``--num_nodes``. Raises InputError."""
    wanted = devices * num_nodes
    if place is None and num_nodes > 1:
        raise InputError(
            f"--num_nodes {num_nodes}: plumbline starts processes on one host only; start one for each "
            f"device with torchrun --nnodes {num_nodes} --nproc_per_node {devices}, or with srun"
        )
    if place is None or place.size == wanted:
        return
    nodes = place.size // place.local_size
    if wanted == 1:
        one = "use a job array or srun --ntasks=1 for each independent training"
        raise InputError(
            f"{place.starter} has started {place.size} copies of this training, which would all train alone: "
            f"give --devices {place.local_size}{f' --num_nodes {nodes}' if nodes > 1 else ''} to train "
            f"together, or {one if place.starter == 'srun' else 'start one'}"
        )
    raise InputError(
        f"--devices {devices} --num_nodes {num_nodes} are {wanted} processes, and {place.starter} has "
        f"started {place.size}: give --devices {place.local_size} --num_nodes {nodes}"
    )
