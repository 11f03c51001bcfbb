"""``lps`` on clips in memory, in processes of its own, some of which signal themselves after a given step.

    python -m tests.training.lps_process < PHASES.json > ENDS.json

PHASES: a list of phases, each a list of commands that run side by side, each ``{"arguments": [...], "environment":
{...}, "signal": "SIGKILL:13"}``. ENDS: the same shape, each ``[exit status, stdout, stderr]``; a negative status is the
signal that killed the process. Commands are forked from this process, which has imported everything: a second each
instead of six.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class End(NamedTuple):
    status: int
    stdout: str
    stderr: str


def run_phases(*phases):
    """Run phases in a fresh process; a list of lists of :class:`End`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.lps_process"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        input=json.dumps(phases),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [[End(*end) for end in phase] for phase in json.loads(done.stdout)]


def command(config, *arguments, signal="", **environment):
    """One ``lps train`` of a phase."""
    given = ["train", "--config", str(config), *arguments]
    return {"arguments": given, "environment": environment, "signal": signal}


def two_ranks(config, *arguments, signal=("", "")):
    """The two commands that ``torchrun --nproc-per-node 2`` would start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        command(config, *arguments, signal=signal[rank], RANK=str(rank), LOCAL_RANK=str(rank), **group)
        for rank in (0, 1)
    ]


def signalling(train, name, step):
    """``train`` that sends this process the signal once the step's progress is shown, before anything is saved."""

    def run(config, on_progress, **options):
        def report(progress):
            on_progress(progress)
            if progress.phase == "train" and progress.detail["step"] == int(step):
                os.kill(os.getpid(), getattr(signal, name))

        return train(config, on_progress=report, **options)

    return run


def _become(wanted, streams):
    """The forked process: ``lps`` with the arguments, never to return."""
    from cli.main import main
    from training import loop

    for descriptor, stream in zip((1, 2), streams):
        os.dup2(stream.fileno(), descriptor)
    os.environ.update(wanted["environment"])
    if wanted["signal"]:
        loop.train = signalling(loop.train, *wanted["signal"].split(":"))
    sys.argv = ["lps", *wanted["arguments"]]
    main()


def _start(wanted):
    streams = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 (read after the process has ended)
    pid = os.fork()
    if pid == 0:
        _become(wanted, streams)
    return pid, streams


def _end(pid, streams):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = []
    for stream in streams:
        stream.seek(0)
        texts.append(stream.read())
        stream.close()
    return [status, *texts]


def _serve():
    import cli.train  # noqa: F401 (imported once, for every command)
    from training import loop

    from .toy import MovingBlobs

    loop.open_dataset = lambda config: MovingBlobs()
    ends = []
    for phase in json.load(sys.stdin):
        running = [_start(wanted) for wanted in phase]
        ends.append([_end(*process) for process in running])
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    _serve()
