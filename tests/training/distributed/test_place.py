"""Which process of a training this is, from the variables of torchrun and srun, and what is refused."""

import json

import pytest

from plumbline.errors import InputError
from plumbline.training.distributed.place import PLACE, Place, check_place, given_place

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1", "MASTER_PORT": "29500",
}  # fmt: skip
SRUN = {
    "SLURM_STEP_NUM_TASKS": "7", "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),3", "SLURM_STEP_NODELIST": "gpu[03-04,9]", "SLURM_JOB_ID": "40007",
}  # fmt: skip


def test_torchrun_says_which_process_this_is():
    assert given_place(TORCHRUN) == Place(5, 8, 1, 4, "torchrun", "node1")
    assert given_place(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_srun_says_which_process_this_is():
    assert given_place(SRUN) == Place(6, 7, 2, 3, "srun", "gpu03", 15007)
    first = SRUN | {"SLURM_NODEID": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
    assert given_place(first) == Place(6, 7, 2, 2, "srun", "10.0.0.1", 4000)
    for nodes, host in (
        ("a,b", "a"),
        ("n7", "n7"),
        ("x1,gpu[3-4]", "x1"),
        ("gpu[07],x", "gpu07"),
        ("node[1-2].local", "node1.local"),
        ("a[1-2]-ib[3-4],b", "a1-ib3"),
    ):
        found = given_place(SRUN | {"SLURM_STEP_NODELIST": nodes})
        assert found is not None
        assert found.address == host


def test_the_first_process_says_which_process_this_is():
    place = Place(1, 2, 1, 2, "plumbline", "127.0.0.1", 4001)
    assert given_place(TORCHRUN | {PLACE: json.dumps(place)}) == place


@pytest.mark.parametrize("variables", [
    {},
    {"WORLD_SIZE": "4", "RANK": "1"},
    {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"},
    {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    {"SLURM_STEP_NUM_TASKS": "4"},
])  # fmt: skip
def test_a_batch_script_and_stray_variables_are_no_start_of_several_processes(variables):
    assert given_place(variables) is None


@pytest.mark.parametrize(("devices", "nodes", "place", "said"), [
    (1, 1, Place(1, 4, 1, 2, "torchrun"), "torchrun has started 4 copies of this training, which would all "
     "train alone: give --devices 2 --num_nodes 2 to train together, or start one"),
    (1, 1, Place(0, 2, 0, 2, "srun"), "srun has started 2 copies of this training, which would all train "
     "alone: give --devices 2 to train together, or use a job array or srun --ntasks=1 for each independent "
     "training"),
    (3, 1, Place(0, 2, 0, 2, "srun"), "--devices 3 --num_nodes 1 are 3 processes, and srun has started 2: "
     "give --devices 2 --num_nodes 1"),
    (2, 2, None, "--num_nodes 2: plumbline starts processes on one host only; start one for each device with "
     "torchrun --nnodes 2 --nproc_per_node 2, or with srun"),
])  # fmt: skip
def test_another_number_of_processes_is_refused(devices, nodes, place, said):
    with pytest.raises(InputError) as caught:
        check_place(devices, nodes, place)
    assert str(caught.value) == said


def test_as_many_processes_as_devices_are_not_refused():
    for devices, nodes, place in ((1, 1, None), (4, 1, None), (2, 2, Place(3, 4, 1, 2, "srun"))):
        check_place(devices, nodes, place)
