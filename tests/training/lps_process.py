"""``lps`` on clips in memory, in a process of its own that signals itself after a given step.

python -m tests.training.lps_process train --config FILE ...      LPS_TEST_SIGNAL=SIGKILL:13[:RANK]
"""

import os
import signal

from cli.main import main
from training import loop

from .toy import MovingBlobs


def signalling(train):
    """``train`` that sends this process the signal once the step's progress is reported, before anything is saved."""
    name, step, *rank = os.environ["LPS_TEST_SIGNAL"].split(":")
    wanted = int(step) if not rank or rank[0] == os.environ.get("RANK") else -1

    def run(config, on_progress, **options):
        def report(progress):
            on_progress(progress)
            if progress.phase == "train" and progress.detail["step"] == wanted:
                os.kill(os.getpid(), getattr(signal, name))

        return train(config, on_progress=report, **options)

    return run


if __name__ == "__main__":
    loop.open_dataset = lambda config: MovingBlobs()
    if "LPS_TEST_SIGNAL" in os.environ:
        loop.train = signalling(loop.train)
    main()
