"""Two hosts, as two network namespaces joined by a virtual cable: they share their files and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.training_fixtures import flags, fresh_environment, metric_rows, saved, train, write_seeded

ADDRESSES = "10.213.7.1", "10.213.7.2"
CABLE = "cable"


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The names of two namespaces, each of which reaches only itself and the other."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("needs Linux and ip (iproute2)")
    names = [f"plumbline-{os.getpid()}-{end}" for end in "ab"]
    try:
        try:
            for name in names:
                run("ip", "netns", "add", name)
            ends = [("name", CABLE, "netns", name) for name in names]
            run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
            for name, address in zip(names, ADDRESSES, strict=True):
                run("ip", "-n", name, "address", "add", f"{address}/24", "dev", CABLE)
                run("ip", "-n", name, "link", "set", CABLE, "up")
                run("ip", "-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces with a cable: {error.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
def test_two_hosts_train_as_one_process(hosts: list[str], tmp_path: Path) -> None:
    """In float64, started by torchrun."""
    data = write_seeded(tmp_path / "data")
    common = {"precision": "64", "dropout": 0, "val_split": 0.4}
    alone = train(data, tmp_path / "alone", **common, batch_size=16)
    assert alone.code == 0, alone.text
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1",
        "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{ADDRESSES[0]}:29500", "--rdzv_id", "two-hosts",
    ]  # fmt: skip
    training = ["-m", "plumbline", "train", *flags(data, tmp_path / "both", num_nodes=2, **common)]
    environment = fresh_environment(GLOO_SOCKET_IFNAME=CABLE)
    running = [
        subprocess.Popen(
            # Neither has a name by which torchrun could see that it is the first.
            ["ip", "netns", "exec", host, *command, "--rdzv_conf", f"is_host={int(host == hosts[0])}",
             "--local_addr", address, *training],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for host, address in zip(hosts, ADDRESSES, strict=True)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=280)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    one, other = (saved(tmp_path / name / "last.ckpt") for name in ("alone", "both"))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, weights in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], weights, rtol=0, atol=1e-10)
    rows = [metric_rows(tmp_path / name) for name in ("alone", "both")]
    assert [len(table) for table in rows] == [2, 2]
    for before, after in zip(*rows, strict=True):
        assert float(after["val_loss"]) == pytest.approx(float(before["val_loss"]), abs=1e-10)
