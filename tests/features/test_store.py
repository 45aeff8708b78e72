"""The feature store gives back what was put in, and says so when it cannot."""

import json

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.features.store import FeatureStore, StoreError
from emoshare_utils.files import atomic, remove_leftovers, slug

WIDTH = 6


def clips(*names: str, checksum: str = "00000000", duration_s: float = 1.0) -> pd.DataFrame:
    columns = {"clip_id": names, "audio_checksum": checksum, "duration_s": duration_s}
    return pd.DataFrame(columns)


def frames(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, WIDTH)).astype(np.float32) for n in lengths]


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    """Two shards: a, b, c and d, e."""
    store = FeatureStore.create(tmp_path, "org/model", WIDTH, {"layer": "last"})
    store.write_shard("shard-00000", clips("a", "b", "c"), frames(3, 1, 5))
    store.write_shard("shard-00001", clips("d", "e"), frames(2, 4, seed=1))
    return store


def test_frames_come_back_as_float16_read_clip_by_clip(store):
    for reader in (store, FeatureStore(store.folder)):
        written = [*frames(3, 1, 5), *frames(2, 4, seed=1)]
        for clip, expected in zip("abcde", written):
            read = reader.frames(clip)
            assert read.base is None  # no map, whose pages would stay resident
            assert read.dtype == np.float16
            np.testing.assert_array_equal(read, expected.astype(np.float16))
        assert reader.lengths(["e", "a"]).tolist() == [4, 3]
        assert reader.lengths(["a"]).dtype == np.int64


def test_lengths_name_the_clips_that_are_not_there(store):
    with pytest.raises(StoreError, match="lacks 2 clips, y, z .*02_embedding_extraction"):
        store.lengths(["a", "y", "z"])


def test_the_folder_carries_the_encoder_and_everything_that_changes_the_numbers(tmp_path):
    settings = {"layer": "last", "torch": "2.11", "normalise": True}
    folders = [
        FeatureStore.create(tmp_path, encoder, width, settings | change).folder
        for encoder, width, change in [
            ("org/model", 6, {}),
            ("org/other", 6, {}),
            ("org/model", 7, {}),
            ("org/model", 6, {"normalise": False}),
            ("org/model", 6, {"torch": "2.12"}),
        ]
    ]
    assert len(set(folders)) == 5
    assert folders[0].name.startswith("org--model-")
    again = FeatureStore.create(tmp_path, "org/model", 6, dict(reversed(settings.items())))
    assert again.folder == folders[0]
    assert json.loads((again.folder / "settings.json").read_text()) == settings | {"width": 6}


def test_an_encoders_name_becomes_one_plain_folder_name():
    assert slug("hubert-large") == "hubert-large"
    assert slug("org/model.v2").startswith("org--model.v2-")
    assert len({slug(name) for name in ("/models/a", "models/a", "Sad+", "Sad-", "???")}) == 5
    assert slug("怒り") == "怒り"
    assert "/" not in slug("/models/mine") + slug("../mine")
    assert not slug("../mine").startswith(".")


def test_a_folder_without_settings_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="is no feature store"):
        FeatureStore(tmp_path)


def test_missing_clips_are_those_not_stored_or_changed_since(store):
    wanted = clips("a", "c", "e", "f")
    wanted.loc[1, "audio_checksum"] = "11111111"
    assert store.missing(wanted)["clip_id"].tolist() == ["c", "f"]
    assert len(FeatureStore.create(store.folder.parent, "new", 6, {}).missing(wanted)) == 4


def test_a_clip_written_again_replaces_the_old_one(store):
    store.write_shard("shard-00002", clips("b", checksum="11111111"), frames(7, seed=2))
    for reader in (store, FeatureStore(store.folder)):
        assert reader.lengths(["b"]) == [7]
        np.testing.assert_array_equal(reader.frames("b"), frames(7, seed=2)[0].astype(np.float16))
        assert reader.missing(clips("a", "b"))["clip_id"].tolist() == ["b"]
        assert len(reader.index) == 5


# The plan


def many(n: int, seed: int = 0) -> pd.DataFrame:
    table = clips(*(f"clip{i:03d}" for i in range(n)))
    return table.assign(duration_s=np.random.default_rng(seed).uniform(1, 8, n))


def make(store: FeatureStore, shard) -> None:
    store.write_shard(shard.name, shard.clips, frames(*[2] * len(shard.clips)))


def test_shards_hold_about_the_same_number_of_clips_and_seconds(tmp_path):
    table = many(207)
    shards = FeatureStore.create(tmp_path, "e", WIDTH, {}).plan(table, 20)
    assert [shard.name for shard in shards] == [f"shard-{i:05d}" for i in range(11)]
    assert {len(shard.clips) for shard in shards} <= {18, 19, 20}
    seconds = [shard.clips["duration_s"].sum() / len(shard.clips) for shard in shards]
    assert max(seconds) < 1.05 * min(seconds)
    assert all(shard.clips["duration_s"].is_monotonic_decreasing for shard in shards)
    assert sorted(pd.concat(s.clips for s in shards)["clip_id"]) == table["clip_id"].tolist()


def test_a_plan_does_not_change_while_it_is_carried_out(tmp_path):
    store = FeatureStore.create(tmp_path, "e", WIDTH, {})
    shards = {shard.name: shard for shard in store.plan(many(50), 10)}
    make(store, shards["shard-00003"])
    left = FeatureStore(store.folder).plan(many(50)[::-1], 7)
    assert [shard.name for shard in left] == [f"shard-0000{i}" for i in (0, 1, 2, 4)]
    for shard in left:
        expected = shards[shard.name].clips
        pd.testing.assert_frame_equal(shard.clips[expected.columns], expected)
        make(store, shard)
    assert store.plan(many(50)) == []


def test_new_clips_get_shards_of_their_own(tmp_path):
    store = FeatureStore.create(tmp_path, "e", WIDTH, {})
    for shard in store.plan(many(30), 10):
        make(store, shard)
    more = many(45)
    more.loc[3, "audio_checksum"] = "11111111"  # and one that has changed
    shards = store.plan(more, 10)
    assert [shard.name for shard in shards] == ["shard-00003", "shard-00004"]
    planned = sorted(pd.concat(shard.clips for shard in shards)["clip_id"])
    assert planned == ["clip003", *(f"clip{i:03d}" for i in range(30, 45))]
    make(store, shards[0])
    fewer = store.plan(more[:40], 10)  # the corpus shrinks before the plan is carried out
    assert {shard.name for shard in fewer} == {"shard-00005"}  # 4 may still be being written
    assert set(fewer[0].clips["clip_id"]).isdisjoint(shards[0].clips["clip_id"])


@pytest.mark.parametrize("damage", [lambda f: f.unlink(), lambda f: f.write_bytes(b"PAR1")])
def test_a_lost_plan_costs_nothing_that_is_finished(tmp_path, damage):
    store = FeatureStore.create(tmp_path, "e", WIDTH, {})
    shards = store.plan(many(30), 10)
    make(store, shards[1])
    damage(store.folder / "plan.parquet")
    left = store.plan(many(30), 10)
    assert [shard.name for shard in left] == ["shard-00002", "shard-00003"]
    assert not set(pd.concat(s.clips for s in left)["clip_id"]) & set(shards[1].clips["clip_id"])


# What is not written


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_frames_that_are_not_finite_in_float16_are_refused(store, value):
    bad = frames(3, 4)
    bad[1][2, 1] = value
    with pytest.raises(StoreError, match="clip g: frames are not finite in float16"):
        store.write_shard("shard-00002", clips("f", "g"), bad)
    assert len(FeatureStore(store.folder).index) == 5


@pytest.mark.parametrize("shape", [(3, WIDTH + 1), (3,)])
def test_frames_of_another_width_are_refused(store, shape):
    with pytest.raises(StoreError, match=rf"clip f: frames of shape .*, expected \(L, {WIDTH}\)"):
        store.write_shard("shard-00002", clips("f"), [np.zeros(shape, np.float32)])


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), atomic(tmp_path / "x") as file:
        file.write(b"half of it")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with atomic(tmp_path / "x") as file:
        file.write(b"all of it")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"all of it"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


# Shards that are not whole


def test_a_shard_without_its_index_does_not_count_and_is_written_over(store):
    whole = (store.folder / "shard-00001.npy").read_bytes()
    (store.folder / "shard-00001.parquet").unlink()
    (store.folder / "shard-00001.npy").write_bytes(whole[:100])
    store = FeatureStore(store.folder)
    assert store.missing(clips("a", "b", "c", "d", "e"))["clip_id"].tolist() == ["d", "e"]
    store.write_shard("shard-00001", clips("d", "e"), frames(2, 4, seed=1))
    assert (store.folder / "shard-00001.npy").read_bytes() == whole
    assert store.verify() == []


def test_leftovers_do_not_count_and_are_removed(store):
    before = store.index
    for name in (".shard-00002.npy.77.tmp", ".shard-00002.parquet.77.tmp"):
        (store.folder / name).write_bytes(b"half")
    store = FeatureStore(store.folder)
    pd.testing.assert_frame_equal(store.index, before)
    assert store.verify() == []
    remove_leftovers(store.folder)
    assert not list(store.folder.glob("*.tmp"))
    assert len(list(store.folder.iterdir())) == 5


def test_a_removed_shards_clips_are_missing_again(store):
    for ending in (".parquet", ".npy"):
        (store.folder / f"shard-00000{ending}").unlink()
    store = FeatureStore(store.folder)
    assert store.missing(clips("a", "b", "c", "d", "e"))["clip_id"].tolist() == ["a", "b", "c"]
    store.write_shard("shard-00000", clips("a", "b", "c"), frames(3, 1, 5))
    assert store.missing(clips("a", "b", "c", "d", "e")).empty
    np.testing.assert_array_equal(store.frames("c"), frames(3, 1, 5)[2].astype(np.float16))
    assert store.verify() == []


# Damage


def test_reading_changed_frames_names_the_shard_and_the_clip(store):
    file = store.folder / "shard-00000.npy"
    content = bytearray(file.read_bytes())
    content[128 + 2 * WIDTH * 4] ^= 1  # in clip c, the fifth row
    file.write_bytes(content)
    reader = FeatureStore(store.folder)
    reader.frames("a"), reader.frames("b")
    message = r"shard-00000\.npy is damaged \(clip c has changed\): run .* this shard again"
    for _ in range(2):
        with pytest.raises(StoreError, match=message):
            reader.frames("c")


def test_verify_names_the_shard_with_a_flipped_bit(store):
    file = store.folder / "shard-00001.npy"
    whole = file.read_bytes()
    assert FeatureStore(store.folder).verify() == []
    for position in (128, 150, len(whole) - 1):  # of the frames, behind a header of 128 bytes
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            file.write_bytes(damaged)
            assert FeatureStore(store.folder).verify() == ["shard-00001"]


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_damage_is_named_or_harmless(store, ending):
    file = store.folder / f"shard-00000.{ending}"
    whole, index = file.read_bytes(), store.index
    expected = {clip: np.array(store.frames(clip)) for clip in "abcde"}
    for length in (0, 1, 60, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert FeatureStore(store.folder).verify() == ["shard-00000"]
    for position in range(0, len(whole), 1 if ending == "npy" else 13):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        reader = FeatureStore(store.folder)
        if reader.verify() == ["shard-00000"]:
            continue
        pd.testing.assert_frame_equal(reader.index, index)
        for clip in "abcde":
            np.testing.assert_array_equal(reader.frames(clip), expected[clip])


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_reading_a_damaged_shard_names_it_and_what_to_do(store, ending):
    file = store.folder / f"shard-00000.{ending}"
    file.write_bytes(file.read_bytes()[:100])
    message = rf"shard-00000\.{ending} is damaged .*: run notebooks/02_embedding_extraction"
    with pytest.raises(StoreError, match=message):
        FeatureStore(store.folder).frames("a")
