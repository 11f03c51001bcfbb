import os
import threading
import time

import pytest

from dataset_builder import probing
from dataset_builder.index import Index, build_index
from dataset_builder.probing import LimitedThreads, Overdue, probe_all
from dataset_builder.source_tree import LocalTree
from lps_sim.files import sha256_file


def test_items_that_hang_are_given_up_and_the_others_done_by_new_threads():
    release = threading.Event()
    pool = LimitedThreads(lambda item: item * 10 if item % 3 else release.wait(30), lambda item: 0.2, threads=2)
    started = time.monotonic()
    results = dict(pool.run(range(10)))
    assert time.monotonic() - started < 10
    assert results == {i: Overdue(0.2) if i % 3 == 0 else i * 10 for i in range(10)}
    release.set()


def test_threads_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=30)
    assert len(dict(LimitedThreads(lambda item: meet.wait(), lambda item: 60.0, threads=3).run(range(6)))) == 6


def test_a_reader_that_stops_early_leaves_the_rest_undone():
    done = []
    for _ in LimitedThreads(done.append, lambda item: 60.0, threads=1).run(range(100_000)):
        break
    count = len(done)
    time.sleep(0.05)
    assert len(done) <= count + 1 < 100_000


def test_a_file_that_hangs_is_listed_and_the_rest_is_probed(tmp_path, carphone_path, monkeypatch):
    from lps_sim import media

    release, real = threading.Event(), media.probe
    paths = [tmp_path / name for name in ("a.mp4", "hangs.mp4", "odd.mp4", "z.mp4")]
    for path in paths:
        path.symlink_to(carphone_path)

    def hostile(path, count=False):
        if path.name == "hangs.mp4":
            release.wait(30)
        if path.name == "odd.mp4":
            raise RuntimeError("out of order")
        return real(path, count)

    monkeypatch.setattr(media, "probe", hostile)
    monkeypatch.setattr(probing, "LIMIT_S", 0.5)
    monkeypatch.setattr(probing, "SLOWEST_BYTES_PER_S", 1e9)
    counts = []
    first, hangs, odd, last = probe_all(
        LocalTree(tmp_path), [path.name for path in paths], {}, workers=1, on_done=counts.append
    )
    release.set()
    assert (first.frames, last.frames, counts) == (120, 120, [0, 1, 2, 3, 4])
    assert (hangs, odd) == ("not read within 1 s", "RuntimeError: out of order")


@pytest.fixture
def twins(tmp_path, carphone_path, bikes_path):
    """The same bytes under two names, and another clip."""
    root = tmp_path / "src"
    root.mkdir()
    for name, path in (("one", carphone_path), ("two", carphone_path), ("other", bikes_path)):
        (root / f"{name}.mp4").write_bytes(path.read_bytes())
    return root


def test_equal_bytes_under_two_names_are_listed_and_both_stay_clips(twins, tmp_path):
    index = build_index(twins, sha256=True)
    assert index.duplicates() == [("one", "two")]
    assert index.problems == ()
    assert {entry.name: entry.sha256 for entry in index.entries} == {
        name: sha256_file(twins / f"{name}.mp4") for name in ("one", "other", "two")
    }
    index.save(tmp_path / "index.jsonl")
    assert Index.load(tmp_path / "index.jsonl") == index
    assert build_index(twins).duplicates() == []


def test_hashes_are_kept_with_the_rest_and_made_only_once(twins, monkeypatch):
    from lps_sim import files

    hashed, real = [], files.sha256_file
    monkeypatch.setattr(files, "sha256_file", lambda path: hashed.append(os.path.basename(path)) or real(path))
    plain = build_index(twins)
    assert hashed == []
    full = build_index(twins, cache=plain, sha256=True)
    assert sorted(hashed) == ["one.mp4", "other.mp4", "two.mp4"]
    hashed.clear()
    assert build_index(twins, cache=full, sha256=True) == full == build_index(twins, cache=full)
    os.utime(twins / "two.mp4", ns=(1, 1))
    changed = build_index(twins, cache=full, sha256=True)
    assert (hashed, changed.duplicates()) == (["two.mp4"], [("one", "two")])


def test_an_index_of_version_1_is_read_but_its_files_are_probed_again(twins, tmp_path, monkeypatch):
    from lps_sim import media

    new = build_index(twins)
    new.save(tmp_path / "i.jsonl")
    text = (tmp_path / "i.jsonl").read_text().replace('"lps_index": 2', '"lps_index": 1').replace(', "sha256": ""', "")
    (tmp_path / "i.jsonl").write_text(text)
    old = Index.load(tmp_path / "i.jsonl")
    assert (old.entries, old.version) == (new.entries, 1)
    probed, real = [], media.probe
    monkeypatch.setattr(media, "probe", lambda path: probed.append(os.path.basename(path)) or real(path))
    assert build_index(twins, cache=old) == new
    assert sorted(probed) == ["one.mp4", "other.mp4", "two.mp4"]
