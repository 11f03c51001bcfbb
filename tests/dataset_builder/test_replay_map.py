import pytest

from dataset_builder.index import Index, IndexEntry, build_index
from dataset_builder.replay.map import ReplayMap, build_map, clip_name
from lps_sim.media import write_video
from tests.dataset_builder.replay_material import moving_square

NTU = "S001C001P001R001A00{}_rgb.avi"


def entry(name, path, frames):
    return IndexEntry(name=name, path=path, size=1, mtime_ns=1, frames=frames, fps="30", width=8, height=8, codec="x")


def load(tmp_path, text):
    path = tmp_path / "MAP"
    path.write_text(text, encoding="utf-8")
    return ReplayMap.load(path)


def test_a_map_counts_frames_over_the_clips_in_the_order_of_their_names(tmp_path):
    clips = [entry("b", "x/" + NTU.format(2), 40), entry("a", "z/" + NTU.format(1), 30), entry("c", NTU.format(3), 5)]
    built = build_map(Index(tmp_path, "ntu", tuple(clips)))
    assert built.text() == f"0 29 {NTU.format(1)}\n30 69 {NTU.format(2)}\n70 74 {NTU.format(3)}\n"
    built.save(tmp_path / "MAP")
    assert ReplayMap.load(tmp_path / "MAP") == built
    assert [clip.name for clip in built.entries] == [f"S001C001P001R001A00{a}" for a in (1, 2, 3)]
    assert (built.played_frames, built.gaps) == (75, ())


def test_clips_in_class_folders_keep_their_folder_and_its_label(tmp_path):
    for folder in ("wave", "jump"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "one clip.mp4", moving_square(6), 30)
    built = build_map(build_index(tmp_path), count=True)
    assert built.text() == "0 5 jump/one clip.mp4\n6 11 wave/one clip.mp4\n"
    assert [(clip.name, clip.label) for clip in built.entries] == [("jump/one clip", "jump"), ("wave/one clip", "wave")]


def test_gaps_comments_tabs_and_a_count_from_one_are_read(tmp_path):
    read = load(tmp_path, "\ufeff# played on Monday\n1\t9 a.mp4\n\n20  29  name with spaces.mp4 \n")
    assert [(c.first, c.last, c.name) for c in read.entries] == [(1, 9, "a"), (20, 29, "name with spaces")]
    assert (read.gaps, read.played_frames) == (((10, 19),), 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line START END NAME"),
        ("0 9 a.mp4\n10 x b.mp4\n", "line 2: must be START END NAME"),
        ("0 9\n", "line 1: must be START END NAME"),
        ("-1 9 a.mp4\n", "line 1: must be START END NAME"),
        ("0 9 a.mp4\n19 10 b.mp4\n", "line 2: END must be START or more, got 19 10"),
        ("0 9 a.mp4\n9 12 b.mp4\n", "line 2: START must be behind the last clip's END 9, got 9"),
        ("10 19 a.mp4\n0 9 b.mp4\n", "line 2: START must rise from line to line, got 0 after 10"),
        ("0 9 a.mp4\n\n10 19 a.avi\n", "line 3: clip a stands in line 1 already"),
        (f"0 9 {NTU.format(1)}\n10 19 other/S001C001P001R001A001.mp4\n", "line 2: clip S001C001P001R001A001 stands"),
        ("0 9 ../../a.mp4\n", "line 1: name: '../../a.mp4' must be plain path parts"),
        ("0 9 /etc/passwd\n", "must be plain path parts"),
        ("0 9 a\\b.mp4\n", "must be plain path parts"),
        ("0 9 .hidden.mp4\n", "must be plain path parts"),
        ("0 9 a\x00b.mp4\n", "must be printable text"),
    ],
)
def test_a_line_that_breaks_the_rule_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match="MAP: ") as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_bytes_that_are_no_text_are_no_map(tmp_path):
    (tmp_path / "MAP").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="not a map file"):
        ReplayMap.load(tmp_path / "MAP")


def test_an_ending_that_is_no_video_s_belongs_to_the_name():
    assert clip_name("take 1.5") == "take 1.5"
    assert clip_name("wave/take.1.MP4") == "wave/take.1"
