import json
import time

import fsspec
import pytest

from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.index import Index, build_index
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import Manifest
from dataset_builder.places import LEASE_FILE, LEASE_S
from dataset_builder.records import local_records
from dataset_builder.storage import Remote, parse_location
from dataset_builder.verify import verify_dataset

from .interruptions import FILM, content, write_clips

CLIPS = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    write_clips(root, CLIPS)
    (root / "S001C001P009R001A001_rgb.avi").write_text("text " * 50)
    return root


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("reference") / "set"
    assert degrade_dataset(config(source, root)).done == CLIPS
    return root


def config(source, destination, **changes):
    fields = {"film": FILM, "layers": (8,), "workers": 0, "size": (48, 48), "format": "webdataset"}
    return DegradeConfig(source=source, destination=destination, clips_per_shard=3, **{**fields, **changes})


@pytest.fixture
def memory():
    """The in-memory file system, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The URL of a bucket in an S3 server in a process of this machine."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch:
        server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("film")
        yield "s3://film"
        fsspec.filesystem("s3").invalidate_cache()
        server.stop()


def upload(source, url):
    remote = Remote(url)
    for path in sorted(source.iterdir()):
        remote.put(path, path.name)


def downloaded(url, root):
    """A remote data set as a local one."""
    remote = Remote(url)
    for relative, _ in remote.files():
        remote.get(relative, root / relative)
    return root


def test_locations_are_paths_or_urls():
    assert parse_location("s3://bucket/folder/") == "s3://bucket/folder"
    assert parse_location("file:///data/set").as_posix() == "/data/set"
    assert parse_location("data/set").as_posix() == "data/set"
    with pytest.raises(ValueError, match=r"nosuch://x: cannot be opened: Protocol not known"):
        Remote("nosuch://x")


def test_source_and_data_set_in_memory_make_the_bytes_of_local_ones(memory, source, reference, tmp_path):
    upload(source, "memory://ntu")
    reports = []
    summary = degrade_dataset(config("memory://ntu", "memory://p3ar", scratch=tmp_path / "s"), reports.append)
    assert summary.done == CLIPS
    assert [path for path, _ in summary.problems] == ["S001C001P009R001A001_rgb.avi"]
    local = downloaded("memory://p3ar", tmp_path / "copy")
    assert content(local) == content(reference)
    assert verify_dataset(local).findings == ()
    assert sorted(path.name for path in (local / "shards").iterdir()) == ["000000.tar", "000001.tar"]
    assert memory.find("/p3ar/parts") == memory.find("/p3ar/means") == []
    assert not memory.exists(f"/p3ar/{LEASE_FILE}")
    again = degrade_dataset(config("memory://ntu", "memory://p3ar", scratch=tmp_path / "another machine"))
    assert (again.done, again.already_done) == (0, CLIPS)
    with pytest.raises(ValueError, match="made with other settings"):
        degrade_dataset(config("memory://ntu", "memory://p3ar", size=(32, 32), scratch=tmp_path / "s"))


def test_workers_make_several_data_sets_in_a_bucket_from_a_bucket(s3, source, reference, tmp_path):
    upload(source, f"{s3}/ntu")
    summary = degrade_dataset(
        config(f"{s3}/ntu", f"{s3}/p3ar", layers=(0, 8), workers=2, scratch=tmp_path / "s", format="webdataset")
    )
    assert (summary.done, summary.failed) == (CLIPS, ())
    local = downloaded(f"{s3}/p3ar/layers-08", tmp_path / "copy")
    assert content(local) == content(reference)
    assert verify_dataset(local).findings == ()


def test_a_run_that_died_between_two_uploads_ends_in_the_same_bytes(memory, source, reference, tmp_path, monkeypatch):
    from dataset_builder import work as driver

    real, made = driver.process_clip, []

    def dying(settings, task):
        made.append(task.name)
        if len(made) == 3:
            raise MemoryError
        return real(settings, task)

    monkeypatch.setattr(driver, "process_clip", dying)
    with pytest.raises(MemoryError):
        degrade_dataset(config(source, "memory://p3ar", scratch=tmp_path / "s"))
    monkeypatch.setattr(driver, "process_clip", real)
    memory.rm(f"/p3ar/{MANIFEST_FILE}")  # as if nothing had been told since the start
    assert memory.exists("/p3ar/parts/S001C001P001R001A001.mp4")
    assert degrade_dataset(config(source, "memory://p3ar", scratch=tmp_path / "s")).done == CLIPS
    assert content(downloaded("memory://p3ar", tmp_path / "copy")) == content(reference)


def test_two_runs_on_one_remote_data_set_are_kept_apart_until_the_lease_is_old(memory, source, tmp_path):
    lease = {"host": "node7", "process": 4711, "time": time.time() - 20}
    memory.pipe(f"/p3ar/{LEASE_FILE}", json.dumps(lease).encode())
    with pytest.raises(
        ValueError, match=r"process 4711 on node7\) was at work on it 2\d s ago; if it died, wait 2\d\d"
    ):
        degrade_dataset(config(source, "memory://p3ar", scratch=tmp_path / "s"))
    memory.pipe(f"/p3ar/{LEASE_FILE}", json.dumps({**lease, "time": time.time() - LEASE_S}).encode())
    assert degrade_dataset(config(source, "memory://p3ar", scratch=tmp_path / "s")).done == CLIPS


def test_a_remote_index_is_saved_loaded_and_probed_again_only_where_files_changed(memory, source, tmp_path):
    upload(source, "memory://ntu")
    index = build_index("memory://ntu")
    assert (index.root, len(index.entries)) == ("memory://ntu", CLIPS)
    index.save(tmp_path / "index.jsonl")
    assert Index.load(tmp_path / "index.jsonl") == index
    first = index.entries[0]
    broken = {**vars(first), "frames": 7777}
    known = Index(index.root, index.naming, (type(first)(**broken), *index.entries[1:]))
    assert build_index("memory://ntu", cache=known).entries[0].frames == 7777
    with pytest.raises(ValueError, match="must not lie inside the source"):
        degrade_dataset(config("memory://ntu", "memory://ntu/p3ar"))


def test_the_records_of_remote_data_sets_are_read_where_they_are(memory, source, tmp_path):
    degrade_dataset(config(source, "memory://p3ar", layers=(0, 8), scratch=tmp_path / "s"))
    with local_records("memory://p3ar") as found:
        assert [location for location, _ in found] == ["memory://p3ar/layers-00", "memory://p3ar/layers-08"]
        with Manifest(found[1][1] / MANIFEST_FILE) as manifest:
            assert manifest.counts() == {"pending": 0, "done": CLIPS, "failed": 0}
    with pytest.raises(ValueError, match="memory://empty: not a data set"), local_records("memory://empty"):
        pass
