"""Starting the processes of a training, and connecting them."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from plumbline.cores import num_cores
from plumbline.errors import InputError
from plumbline.training.distributed.place import Place, check_place, given_place
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.records import TrainSettings

_LOST = (
    "Connection closed", "Connection reset", "imed out", "Broken pipe", "Socket", "recvValue", "sendBytes",
    "NCCL", "gloo",
)  # fmt: skip
"""Words of torch's errors if another process does not answer."""
_GRACE = 30.0
"""Seconds that the other processes have to end after the first one."""


@contextmanager
def joined(settings: TrainSettings, given: Place | None = None) -> Iterator[World]:
    """Connect the processes of a training for the block, after starting them if nobody else has.

    Args:
        settings: of the training.
        given: the place of this process, if :func:`joined` has started it.

    Raises:
        InputError: ``--devices`` and ``--num_nodes`` do not fit how this process was started, or another
            process has ended or does not answer; the message names it and says why.
    """
    place = given or given_place()
    check_place(settings.devices, settings.num_nodes, place)
    size = settings.devices * settings.num_nodes
    if size == 1:
        yield ALONE
        return
    with ExitStack() as held:
        if place is None:
            place = Place(size=size, local_size=size)
            own = dist.TCPStore(place.address, 0, world_size=None, is_master=True, wait_for_workers=False)
            held.enter_context(_others(settings, place._replace(port=own.port)))
            store: dist.Store = own
        else:
            store = _meet(place)
        held.enter_context(_connected(settings, place, store))
        world = World(place, dist.PrefixStore("notes", store))
        try:
            yield world
            world.hurry(False)
            world.gather(None)  # nobody leaves while another still needs the notes
        except BaseException as error:
            world.leave(error)
            text = str(error)
            if isinstance(error, RuntimeError) and any(words in text for words in _LOST):
                raise world.why(error) from error
            raise


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


@contextmanager
def _connected(settings: TrainSettings, place: Place, store: dist.Store) -> Iterator[None]:
    """Make the process group for the block, and divide the cores of this host."""
    waits = timedelta(seconds=settings.stall_timeout) if settings.stall_timeout else timedelta(days=365)
    gpus = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(place.local_rank)
    threads = torch.get_num_threads()
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


@contextmanager
def _others(settings: TrainSettings, place: Place) -> Iterator[None]:
    """Start the other processes on this host for the block; they end with this one, however it ends."""
    started = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        for rank in range(1, place.size):
            process = subprocess.Popen(
                [sys.executable, "-m", "plumbline.training.distributed.other"],
                stdin=subprocess.PIPE,
                env=environment | {"LOCAL_RANK": str(rank)},
            )
            started.append(process)
            assert process.stdin is not None
            try:
                pickle.dump((settings, place._replace(rank=rank, local_rank=rank)), process.stdin)
                process.stdin.flush()
            except (AttributeError, pickle.PicklingError) as error:
                raise InputError(f"--devices {settings.devices}: {error}; give it as file.py:name") from error
        yield
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
    finally:
        for process in started:
            if process.stdin is not None:
                process.stdin.close()  # which ends it
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            process.kill()
