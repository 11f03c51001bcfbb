"""A degrade run as a process of its own, which tests and benchmarks kill at random moments and start again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import Manifest
from lps_sim.media import write_video

FILM = "p3ar-10layer"


def write_clips(root, count, frames=12, seed=0):
    """Clips with NTU names: a bright square that moves over noise."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        clip = rng.integers(20, 90, (frames, 48, 64, 3), dtype=np.uint8)
        for t in range(frames):
            clip[t, 10:30, 2 * t : 2 * t + 20] = 240
        write_video(root / f"S001C001P{number // 8 + 1:03d}R001A{number % 8 + 1:03d}_rgb.mp4", clip, 30)


def content(root):
    """What a data set holds, by its manifest: hashes, seeds and places of clips and shards."""
    with Manifest(root / MANIFEST_FILE) as manifest:
        clips = {
            row.name: (row.status, row.output, row.output_sha256, row.mean_sha256, row.source_sha256, row.seed)
            for row in manifest.rows()
        }
        return clips, manifest.shards()


class Run:
    """The command line's process for one degrade run, in a process group of its own."""

    def __init__(self, source, destination, *options):
        command = [
            sys.executable,
            "-c",
            "from cli.main import main; main()",
            "data",
            "degrade",
            source,
            destination,
            *map(str, options),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, timeout_s=300):
        """(exit status, everything it printed)."""
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output

    def kill_job(self):
        """SIGKILL to the driver alone; its workers end by themselves."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def kill_worker(self, rng):
        """SIGKILL to one of its worker processes, if it has any."""
        try:
            workers = [child for child in psutil.Process(self.process.pid).children() if _is_worker(child)]
        except psutil.NoSuchProcess:
            return
        if workers:
            rng.choice(workers).kill()


def _is_worker(process):
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def kill_until_done(source, destination, options, kills, seed, longest_s=3.0):
    """Start the run again and again, killing job or workers at ``kills`` random moments; then let it end.

    Returns (times that the job was killed, times that a worker was).
    """
    rng = random.Random(seed)
    jobs = workers = 0
    run = Run(source, destination, *options)
    while jobs + workers < kills:
        time.sleep(rng.uniform(0.3, longest_s))
        if run.process.poll() is not None:
            break
        if rng.random() < 0.5:
            run.kill_job()
            jobs += 1
            run = Run(source, destination, *options)
        else:
            run.kill_worker(rng)
            workers += 1
    status, output = run.finish()
    if status != 0:  # a clip that lost two workers to kills is listed as failed, as it should be
        status, output = Run(source, destination, *options, "--retry-failed").finish()
    assert status == 0, output
    return jobs, workers
