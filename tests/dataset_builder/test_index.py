import json
import os
import shutil

import pytest

from dataset_builder.index import Index, build_index
from dataset_builder.source_names import read_exclude_list


@pytest.fixture
def tree(tmp_path, carphone_path):
    """Two class folders with a real clip each."""
    for name in ("walking/one.mp4", "running fast/zwei ü.mp4"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(carphone_path, tmp_path / "src" / name)
    return tmp_path / "src"


@pytest.fixture
def ntu_tree(tmp_path, carphone_path):
    root = tmp_path / "nturgb+d_rgb"
    root.mkdir()
    for action in (1, 2, 3):
        shutil.copy(carphone_path, root / f"S001C001P001R001A{action:03d}_rgb.mp4")
    return root


def reasons(index):
    return {problem.path: problem.reason for problem in index.problems}


def test_real_videos_are_probed_and_named_by_their_folders(tree):
    index = build_index(tree)
    assert (index.naming, index.problems) == ("folders", ())
    assert [(e.name, e.label) for e in index.entries] == [
        ("running fast/zwei ü", "running fast"),
        ("walking/one", "walking"),
    ]
    entry = index.entries[1]
    assert (entry.frames, entry.width, entry.height, entry.codec) == (120, 176, 144, "h264")
    assert float(entry.frame_rate) == pytest.approx(29.97, abs=0.01)
    assert index.source(entry).is_file()


def test_ntu_names_are_recognised_and_one_that_is_not_is_refused_with_the_rule(ntu_tree, carphone_path):
    assert build_index(ntu_tree).names() == [f"S001C001P001R001A{a:03d}" for a in (1, 2, 3)]
    shutil.copy(carphone_path, ntu_tree / "carphone.mp4")
    index = build_index(ntu_tree)
    assert (index.naming, len(index.entries)) == ("ntu", 3)
    assert "'carphone.mp4' is not an NTU name; the rule is SsssCcccPpppRrrrAaaa" in reasons(index)["carphone.mp4"]


def test_an_index_file_reads_back_equal(tree, tmp_path):
    (tree / "bad.avi").write_text("not a video")
    index = build_index(tree)
    index.save(tmp_path / "index.jsonl")
    assert Index.load(tmp_path / "index.jsonl") == index
    head = json.loads((tmp_path / "index.jsonl").read_text().splitlines()[0])
    assert head["lps_index"] == 2


def test_hostile_files_are_listed_with_their_reason_and_the_rest_is_done(tree):
    (tree / "text.avi").write_text("this is a text file\n" * 50)
    (tree / "empty.mp4").touch()
    os.mkfifo(tree / "pipe.mp4")
    (tree / "nowhere.mp4").symlink_to(tree / "absent.mp4")
    (tree / "walking" / "loop").symlink_to(tree)
    (tree / "new\nline.mp4").write_bytes((tree / "walking" / "one.mp4").read_bytes())
    (tree / "walking" / "one.MP4").write_bytes((tree / "walking" / "one.mp4").read_bytes())
    (tree / "notes.txt").write_text("no video, no complaint")
    index = build_index(tree)
    assert index.names() == ["running fast/zwei ü", "walking/one"]
    found = reasons(index)
    assert found.pop("text.avi").startswith("not a video")
    assert found.pop("empty.mp4") == "empty file"
    assert found.pop("pipe.mp4") == "not a regular file"
    assert found.pop("nowhere.mp4").startswith("cannot be read")
    assert found.pop("walking/loop") == "a link to a folder that is already in the tree"
    assert "no control character or line break" in found.pop("new\\nline.mp4")
    assert found.pop("walking/one.mp4") == "duplicate: walking/one is already walking/one.MP4"
    assert found == {}


def test_a_folder_reached_first_by_a_link_is_still_named_by_its_own_place(tree):
    (tree / "a link").symlink_to(tree / "walking")
    index = build_index(tree)
    assert index.names() == ["running fast/zwei ü", "walking/one"]
    assert "a link" in reasons(index)


def test_links_to_folders_elsewhere_are_followed(tree, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "disk2").symlink_to(tree)
    assert build_index(tmp_path / "set").names() == ["disk2/running fast/zwei ü", "disk2/walking/one"]


def test_unchanged_files_are_not_probed_again(tree, monkeypatch):
    first = build_index(tree)
    probed = []
    from lps_sim import media

    real = media.probe
    monkeypatch.setattr(media, "probe", lambda path: probed.append(path.name) or real(path))
    assert build_index(tree, cache=first) == first
    assert probed == []
    os.utime(tree / "walking" / "one.mp4", ns=(1, 1))
    build_index(tree, cache=first)
    assert probed == ["one.mp4"]


def test_csv_gives_names_and_labels_and_cannot_lead_outside(tree, tmp_path):
    table = tree / "clips.csv"
    rows = [
        "path,name,label",
        "walking/one.mp4,w1,walk",
        "running fast/zwei ü.mp4,,run",
        "walking/one.mp4,../../x,walk",
    ]
    table.write_text("\n".join(rows))
    index = build_index(table, "csv")
    assert [(e.name, e.label) for e in index.entries] == [("running fast/zwei ü", "run"), ("w1", "walk")]
    assert "plain path parts" in reasons(index)["walking/one.mp4"]
    table.write_text("file\nx.mp4\n")
    with pytest.raises(ValueError, match="must have a column 'path'"):
        build_index(table, "csv")


def test_exclude_lists_in_the_authors_format_leave_names_out(ntu_tree, tmp_path):
    listing = tmp_path / "missing.txt"
    listing.write_text(
        "Number of samples: 2\n\nThe list of them:\nS001C001P001R001A001\nS001C001P001R001A003.skeleton\n"
    )
    assert read_exclude_list(listing) == ["S001C001P001R001A001", "S001C001P001R001A003"]
    index = build_index(ntu_tree, "ntu", [listing])
    assert (index.names(), index.excluded) == (
        ["S001C001P001R001A002"],
        ("S001C001P001R001A001", "S001C001P001R001A003"),
    )
    assert index.problems == ()


def test_the_headers_of_both_published_lists_are_skipped(tmp_path):
    for total, data_set in ((302, "NTU RGB+D"), (535, "NTU RGB+D 120")):
        header = (
            f'{total} of the captured samples in the "{data_set}" dataset have missing or incomplete skeleton data.\n'
            "If you are working on skeleton-based analysis, please ignore these files in your training and testing "
            "procedures.\n\n"
        )
        (tmp_path / "list.txt").write_text(header + "S001C002P005R002A008\r\nS001C002P006R001A008\r\n")
        assert read_exclude_list(tmp_path / "list.txt") == ["S001C002P005R002A008", "S001C002P006R001A008"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [("S001C001P001R001A001\noops\n", "line 2: name: 'oops' is not an NTU"), ("just a header\n", "no sample names")],
)
def test_a_damaged_exclude_list_is_refused(tmp_path, text, rule):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=rule):
        read_exclude_list(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("plain text", "not an index file"),
        ('{"a": 1}', "no lps_index"),
        ('{"lps_index": 9}', "index version 9"),
        ('{"lps_index": 1, "root": "."}', "damaged index file"),
    ],
)
def test_a_file_that_is_no_index_is_refused(tmp_path, text, rule):
    (tmp_path / "i.jsonl").write_text(text)
    with pytest.raises(ValueError, match=rule):
        Index.load(tmp_path / "i.jsonl")


def test_a_source_without_videos_or_of_the_wrong_kind_is_refused(tmp_path, carphone_path):
    with pytest.raises(ValueError, match="no video files"):
        build_index(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        build_index(tmp_path / "absent")
    with pytest.raises(ValueError, match="needs a folder"):
        build_index(carphone_path)
    with pytest.raises(ValueError, match="did you mean 'folders'"):
        build_index(tmp_path, "folder")
