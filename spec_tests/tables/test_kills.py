"""The campaign of kills, in short: two stages that take seconds; and that it notices what goes wrong."""

import json
import signal
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from data_manifests.errors import BadInput
from paper_tables.planning import kills

RENDERING, INDEXING = (stage for stage in kills.STAGES if stage.name in ("rendering", "indexing"))


def test_rendering_and_indexing_survive_kills(tmp_path):
    campaign = kills.Campaign(tmp_path, (replace(RENDERING, words=RENDERING.words.replace("C,S,W,H", "C")), INDEXING))
    campaign.undisturbed(lambda _: None)
    rng, done = np.random.default_rng(0), []
    while len(done) < 4:
        done += [kill for kill in [campaign.kill(campaign.stages[len(done) % 2], rng)] if kill]
    assert [kill.wrong for kill in done] == [""] * 4
    assert kills.told(done) == 0


BEGIN = """
import os, pathlib, signal, subprocess, sys, time
left, killed = pathlib.Path(sys.argv[1]) / "left", bool(os.environ["KILLS_MARK"])
again = left.exists()
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
"""
WORKERS = """
from data_manifests.errors import cli_errors
from data_manifests.parallel import parallel
with cli_errors():
    killed and parallel(time.sleep, [0.5] * 1000, "workers", 2)
"""
WAIT = "\ntime.sleep(5 if killed else 0.2)"


@pytest.mark.parametrize(
    ("signum", "text", "said"),
    [
        (signal.SIGTERM, "left.write_text('all')", ""),
        (signal.SIGKILL, f"left.write_text('all')\n{WORKERS}", ""),
        (signal.SIGINT, f"left.write_text('all')\n{WORKERS}", ""),
        (signal.SIGTERM, "left.write_text('again' if again else 'all')", "it leaves other files: left"),
        (signal.SIGKILL, "again and sys.exit(3)\nleft.write_text('all')", "it ends with status 3"),
        (signal.SIGKILL, "again and time.sleep(60)\nleft.write_text('all')", "given again, it did not end within"),
        (signal.SIGINT, "signal.signal(signal.SIGINT, signal.SIG_IGN)\nleft.write_text('all')", "of its signal"),
        (signal.SIGKILL, "killed and subprocess.Popen(sleep)\nleft.write_text('all')", "left 1 processes"),
        (signal.SIGINT, "signal.signal(signal.SIGINT, lambda *_: sys.exit(7))\nleft.write_text('all')", "status 7"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_noticed(tmp_path, monkeypatch, signum, text, said):
    (tmp_path / "slow.py").write_text(BEGIN + text + WAIT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, value in {"ENDING_S": 1.0, "LEAVING_S": 0.5, "PATIENCE_S": 0.0, "SIGNALS": (signum,)}.items():
        monkeypatch.setattr(kills, name, value)
    campaign = kills.Campaign(tmp_path / "campaign", (kills.Stage("slow", "slow {}", (), ("left",)),))
    campaign.undisturbed(lambda _: None)
    drawn = Mock(integers=Mock(return_value=0), random=Mock(return_value=0.5))  # in its middle, the process alone
    kill = campaign.kill(campaign.stages[0], drawn)
    assert said in kill.wrong
    assert bool(kill.wrong) == bool(said)
    assert kills.told([kill]) == bool(said)


def test_a_stage_that_fails_undisturbed_is_said(tmp_path):
    campaign = kills.Campaign(tmp_path, (replace(INDEXING, takes=()),))
    with pytest.raises(BadInput, match="fails undisturbed"):
        campaign.undisturbed(lambda _: None)


def test_dates_and_durations_are_no_differences(tmp_path):
    for name, date, seconds, loss in (("one", "01", 1.5, 2), ("other", "02", 2.5, 2), ("third", "02", 2.5, 3)):
        (tmp_path / name / "scores").mkdir(parents=True)
        np.savez_compressed(tmp_path / name / "scores" / "C.npz", scores=np.float32([loss]))
        (tmp_path / name / "done").write_text(json.dumps({"finished": f"2026-01-{date}T00:00:00+0000"}))
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"loss": loss, "seconds": seconds}))
        (tmp_path / name / ".lock").write_text(name)
    assert kills.differences(tmp_path / "one", tmp_path / "other") == []
    assert kills.differences(tmp_path / "one", tmp_path / "third") == ["metrics.jsonl", "scores/C.npz"]
    (tmp_path / "one" / ".done.tmp").touch()
    assert kills.differences(tmp_path / "one", tmp_path / "other") == [".done.tmp"]
