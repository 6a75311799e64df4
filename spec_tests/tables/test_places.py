"""Where runs go: as many as fit, each on a GPU of its own."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from data_manifests.errors import BadInput
from paper_tables.planning import places

GB = 2**30
TWO = "0, GPU-aaa, 81920, 81000\n1, GPU-bbb, 81920, 80000\n"


@pytest.fixture
def smi(monkeypatch):
    """Lets `nvidia-smi` say what a test writes into it."""
    said = SimpleNamespace(out=TWO, err="")

    def run(command, **_):
        assert command[:2] == ["nvidia-smi", "--query-gpu=index,uuid,memory.total,memory.free"]
        return subprocess.CompletedProcess(command, 0, said.out, said.err)

    monkeypatch.setattr(places.subprocess, "run", run)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return said


def on(name):
    return SimpleNamespace(pid=os.getpid(), place={"CUDA_VISIBLE_DEVICES": name})


def test_each_run_has_a_gpu_of_its_own(smi):
    here = places.Gpus()
    assert here.most == 2
    assert here.free([]) == {"CUDA_VISIBLE_DEVICES": "GPU-aaa"}
    assert here.free([on("GPU-aaa")]) == {"CUDA_VISIBLE_DEVICES": "GPU-bbb"}
    assert here.free([on("GPU-bbb")]) == {"CUDA_VISIBLE_DEVICES": "GPU-aaa"}
    assert here.free([on("GPU-aaa"), on("GPU-bbb")]) is None
    assert places.Gpus(jobs=1).free([on("GPU-aaa")]) is None
    assert places.Gpus(jobs=9).most == 2


def test_a_gpu_that_others_use_is_waited_for(smi, capsys):
    smi.out = TWO.replace("81000", "40000")
    assert places.Gpus().free([]) == {"CUDA_VISIBLE_DEVICES": "GPU-bbb"}
    smi.out = smi.out.replace("80000", "9")
    here = places.Gpus()
    assert here.free([]) is here.free([]) is None
    said = capsys.readouterr().out
    assert said == "waiting for a GPU that others leave free (GPU-aaa: 41920 of 81920 MiB taken; GPU-bbb: 81911 of 81920 MiB taken)\n"  # fmt: skip  # noqa: E501
    smi.out = TWO
    assert here.free([]) == {"CUDA_VISIBLE_DEVICES": "GPU-aaa"}


@pytest.mark.parametrize(
    ("asked", "names"), [("1", ["GPU-bbb"]), ("GPU-aa", ["GPU-aaa"]), ("1,0", ["GPU-aaa", "GPU-bbb"])]
)
def test_gpus_that_the_user_keeps_out_are_left_alone(smi, asked, names):
    assert [gpu.name for gpu in places.gpus(asked)] == names


@pytest.mark.parametrize(("out", "err", "asked", "why"), [
    ("", "no devices were found", None, "no devices were found"),
    ("garbage", "", None, "not enough values"),
    (TWO, "", "", "CUDA_VISIBLE_DEVICES leaves none"),
    (TWO, "", "7", "CUDA_VISIBLE_DEVICES leaves none"),
])  # fmt: skip
def test_no_gpu_is_said_in_a_sentence(smi, out, err, asked, why):
    smi.out, smi.err = out, err
    with pytest.raises(BadInput, match=f"nvidia-smi names no GPU \\(.*{why}"):
        places.gpus(asked)


def test_a_machine_without_the_tool_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match="nvidia-smi names no GPU"):
        places.gpus()


def test_runs_on_a_cpu_start_while_memory_lasts(monkeypatch):
    held = {1: (GB, 3 * GB), 2: (GB, GB)}
    monkeypatch.setattr(places, "resident", held.__getitem__)
    one, two = (SimpleNamespace(pid=n, place={}) for n in (1, 2))

    def room(gigabytes, *running):
        monkeypatch.setattr(places, "available_memory", lambda: gigabytes * GB)
        return places.Cores(3).free(running) is not None

    assert room(0.1)  # the first in any case
    assert room(5, one)  # 3 for the new one, 2 that the first may take again
    assert not room(4.9, one)
    assert room(7, one, two)
    assert not room(6.9, one, two)
    assert not room(99, one, two, two)
    monkeypatch.setattr(places, "available_memory", lambda: None)
    assert places.Cores(3).free([one]) == {}


def test_what_a_process_holds_is_read_from_the_system():
    now, most = places.resident(os.getpid())
    assert 10**7 < now <= most
    assert places.resident(2**31 - 1) == (0, 0)
    assert places.available_memory() > 10**7
