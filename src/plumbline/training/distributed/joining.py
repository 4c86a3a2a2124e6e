"""Starting the processes of a training, and connecting them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from plumbline.console.text import counted
from plumbline.cores import num_cores
from plumbline.errors import InputError
from plumbline.training.distributed.place import PLACE, Place, check_place, given_place
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.records import TrainSettings

_LOST = (
    "Connection closed", "Connection reset", "imed out", "Broken pipe", "Socket", "recvValue", "sendBytes",
    "NCCL", "gloo",
)  # fmt: skip
"""Words of torch's errors if another process does not answer."""
_PATIENCE = 3600.0
"""Seconds that the other processes have to start: on a busy cluster they do so one by one."""
_GRACE = 30.0
"""Seconds that the other processes have to end after a training."""
_MOMENT = 2.0
"""Seconds that they have to end after a failure."""


@contextmanager
def joined(settings: TrainSettings) -> Iterator[World]:
    """Connect the processes of a training for the block, after starting them if nobody else has.

    Raises:
        InputError: ``--devices`` and ``--num_nodes`` do not fit how this process was started, or another
            process has ended or does not answer; the message names it and says why.
    """
    place = given_place()
    check_place(settings.devices, settings.num_nodes, place)
    size = settings.devices * settings.num_nodes
    if size == 1:
        yield ALONE
        return
    others: Sequence[subprocess.Popen[bytes]] = ()
    with ExitStack() as held:
        if place is None:
            place = Place(size=size, local_size=size)
            own = dist.TCPStore(place.address, 0, world_size=None, is_master=True, wait_for_workers=False)
            others = held.enter_context(_others(settings, place._replace(port=own.port)))
            store: dist.Store = own
        else:
            if place.starter == "plumbline":
                threading.Thread(target=_end_with_the_first, daemon=True).start()
            store = _meet(place)
        _check_gpus(settings, place)
        _wait_for_all(store, place, others)
        held.enter_context(_connected(settings, place, store))
        world = World(place, dist.PrefixStore("notes", store))
        world.others = others
        try:
            yield world
            if world.abandoned:
                for process in others:
                    process.kill()
            else:
                world.hurry(False)
                world.gather(None)  # nobody leaves while another still needs the notes
        except BaseException as error:
            text = str(error)
            if isinstance(error, RuntimeError) and any(words in text for words in _LOST):
                raise world.why(error) from error
            world.leave(error)
            raise
        finally:
            world.close()


def _meet(place: Place) -> dist.Store:
    """The store of a process that somebody else has started."""
    if place.starter == "torchrun":
        return next(dist.rendezvous("env://", place.rank, place.size))[0]
    return dist.TCPStore(
        place.address,
        place.port,
        world_size=None,
        is_master=place.starter == "srun" and place.rank == 0,
        wait_for_workers=False,
    )


def _uses_gpus(settings: TrainSettings) -> bool:
    return settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()


def _check_gpus(settings: TrainSettings, place: Place) -> None:
    """Refuse more processes on this host than GPUs. Raises InputError."""
    gpus = torch.cuda.device_count() if _uses_gpus(settings) else place.local_size
    if gpus < place.local_size:
        hint = ", as srun --gpus-per-node shows all to each" if place.starter == "srun" else ""
        raise InputError(
            f"{place.local_size} processes on this host (--devices) see {counted(gpus, 'GPU')}: they need "
            f"one each{hint}; or give --accelerator cpu"
        )


def _wait_for_all(store: dist.Store, place: Place, others: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until every process is here. Raises InputError if one is not, or has ended."""
    store.set(f"here {place.rank}", "")
    deadline = time.monotonic() + _PATIENCE
    while not store.check([f"here {rank}" for rank in range(place.size)]):
        for rank, process in enumerate(others, start=1):
            if (code := process.poll()) is not None:
                raise InputError(f"process {rank} of {place.size} has ended at its start, with code {code}")
        if time.monotonic() > deadline:
            raise InputError(f"not all of the {place.size} processes have started within {_PATIENCE:,.0f} s")
        time.sleep(0.05)


@contextmanager
def _connected(settings: TrainSettings, place: Place, store: dist.Store) -> Iterator[None]:
    """Make the process group for the block, and divide the cores of this host."""
    waits = timedelta(seconds=settings.stall_timeout) if settings.stall_timeout else timedelta(days=365)
    gpus = _uses_gpus(settings)
    if gpus:
        torch.cuda.set_device(place.local_rank)
    threads, hook = torch.get_num_threads(), sys.excepthook
    if "OMP_NUM_THREADS" not in os.environ or place.starter == "torchrun":  # which sets it to 1
        torch.set_num_threads(max(1, num_cores() // place.local_size))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=dist.PrefixStore("group", store),
        rank=place.rank,
        world_size=place.size,
        timeout=waits,
    )
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        dist.destroy_process_group()
        sys.excepthook = hook  # torch has put one in its place that names the process


@contextmanager
def _others(settings: TrainSettings, place: Place) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Start the other processes on this host for the block; they end with this one, however it ends."""
    started: list[subprocess.Popen[bytes]] = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps(settings.plain(), allow_nan=False), encoding="utf-8")  # is YAML
        words = [sys.executable, "-P", "-m", "plumbline", "train", "--config", str(config)]
        words += [] if settings.resume is None else ["--resume", settings.resume]
        try:
            for rank in range(1, place.size):
                mine = place._replace(rank=rank, local_rank=rank)
                process = subprocess.Popen(
                    words, stdin=subprocess.PIPE, env=environment | {PLACE: json.dumps(mine, allow_nan=False)}
                )
                started.append(process)
            yield started
            for process in started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
        finally:
            for process in started:
                if process.stdin is not None:
                    process.stdin.close()  # which ends it, unless it is suspended
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_MOMENT)
                process.kill()
                process.wait()


def _end_with_the_first() -> None:
    """Wait until the first process, which has started this one, closes the pipe or ends."""
    while os.read(0, 1):  # not sys.stdin, which Python could not close at its end
        pass
    os._exit(1)
