import sys
import threading
import time

import pytest

from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.index import build_index
from dataset_builder.runners import ray_cluster
from dataset_builder.verify import verify_dataset

from .interruptions import FILM, content, write_clips

pytestmark = [
    pytest.mark.ray,
    # Ray's own modules warn about subprocesses and sockets that they leave to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
CLIPS = 24


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, each with its own raylet and one CPU; the first is the head and has none."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def config(source, destination, **changes):
    fields = {"film": FILM, "layers": (8,), "workers": 0, "size": (48, 48), "format": "webdataset"}
    return DegradeConfig(source=source, destination=destination, clips_per_shard=5, **{**fields, **changes})


def test_nodes_of_a_cluster_make_the_bytes_of_one_process_though_one_node_is_killed(cluster, tmp_path, monkeypatch):
    source = tmp_path / "source"
    write_clips(source, CLIPS)
    build_index(source).save(tmp_path / "index.jsonl")
    assert degrade_dataset(config(tmp_path / "index.jsonl", tmp_path / "one")).ok
    monkeypatch.setattr(ray_cluster, "BATCH_TASKS", 2)
    victim = sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0]
    killed = threading.Event()

    def kill_when_at_work(progress):
        if progress.done >= 4 and not killed.is_set():
            killed.set()
            victim.kill_raylet()

    summary = degrade_dataset(
        config(tmp_path / "index.jsonl", tmp_path / "many", ray=cluster.address, scratch=tmp_path / "scratch"),
        kill_when_at_work,
    )
    assert killed.is_set()
    assert "raylet" not in [name for name, _ in victim.live_processes()]
    assert (summary.failed, summary.done) == ((), CLIPS)
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert verify_dataset(tmp_path / "many").ok


def slow(task):
    time.sleep(task)
    return task


def test_a_task_that_hangs_on_a_node_costs_itself_alone(cluster):
    results = dict(ray_cluster.run_on_ray(slow, [0.01, 60.0, 0.02], cluster.address, _three_seconds, lambda task: 1))
    assert results[60.0].reason == "took longer than its time limit of 3 s"
    assert (results[0.01], results[0.02]) == (0.01, 0.02)


def _three_seconds(task):
    return 3.0


def test_no_cluster_at_an_address_is_one_clear_error(monkeypatch):
    ray = pytest.importorskip("ray")

    def init(**arguments):
        # Ray itself asks a silent address for two minutes before it says so.
        raise ConnectionError(f"Could not find any running Ray instance at {arguments['address']}.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match=r"ray: no cluster at '127\.0\.0\.1:9' "):
        next(ray_cluster.run_on_ray(slow, [1], "127.0.0.1:9", None, lambda task: 1))


def test_without_ray_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"lens-privacy-sealing\[ray\]"):
        next(ray_cluster.run_on_ray(slow, [1], "auto", None, lambda task: 1))
