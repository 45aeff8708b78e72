"""A trained system predicts what the training pipeline did, wherever its folder is."""

import shutil

import numpy as np
import pytest
import soundfile
import torch

from emoshare_utils import load_system, predict
from emoshare_utils.corpora.audio import read_audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.lengths import AudioError
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.files import read_json, write_json
from emoshare_utils.predicting.export import About, export, export_folder
from emoshare_utils.predicting.trained import SystemFolderError, windows
from emoshare_utils.results.metrics import spearman
from emoshare_utils.training.systems import read_system


@pytest.fixture
def copied(exported, tmp_path):
    """A system's folder that a test may damage."""
    return shutil.copytree(exported, tmp_path / "copied")


def test_predicts_what_the_training_pipeline_did(run, corpus, exported):
    system = load_system(exported)
    assert system.emotions == corpus.emotions == ("Anger", "a/b")
    trained = read_system(run / "models" / "mfcc" / "architecture_2-seed_0").predictions
    expected = trained.pivot(index="clip_id", columns="emotion", values="prediction")
    expected = expected[list(corpus.emotions)]
    clips = corpus.clips.set_index("clip_id")["path"].loc[expected.index].map(corpus.path)
    together = system.shares([read_audio(path) for path in clips])
    np.testing.assert_allclose(together, expected, atol=1e-5)
    for clip in ("devel0", "test3"):
        alone = predict(clips[clip], system)
        np.testing.assert_allclose(alone["share"], expected.loc[clip], atol=1e-5)
    assert expected.std().min() > 1e-3  # the clips differ


def test_samples_and_a_file_give_the_same_numbers(exported, tmp_path, sound):
    system, stereo = load_system(exported), np.stack([sound(1, 9000), sound(2, 9000)], axis=1)
    file = tmp_path / "clip.wav"
    soundfile.write(file, stereo, 22_050, "FLOAT")
    of_file = predict(file, system)
    assert list(of_file) == ["emotion", "share", "low", "high"]
    for samples in (stereo, stereo.astype(float), stereo.mean(axis=1)):
        of_samples = predict(samples, exported, sample_rate=22_050)
        np.testing.assert_allclose(of_samples["share"], of_file["share"], atol=1e-6)
    inside = of_file["low"].le(of_file["share"]) & of_file["share"].le(of_file["high"])
    assert inside.all() and of_file["low"].ge(0).all() and of_file["high"].le(1).all()


def test_what_is_longer_than_training_is_read_in_windows(exported, sound):
    system, long = load_system(exported), sound(0, 33_000)
    assert system.longest == 9600
    parts = windows(long, 9600)
    assert [len(part) for part in parts] == [9600, 9600, 9600, 9600, 9600, 9000]
    starts = [np.flatnonzero(long[:, None] == part[0])[0] for part in parts]
    assert starts == [0, 4800, 9600, 14_400, 19_200, 24_000]
    assert starts[-1] + len(parts[-1]) == len(long)
    each = system.shares(parts)
    expected = np.average(each, axis=0, weights=[len(part) for part in parts])
    np.testing.assert_allclose(system.shares([long])[0], expected, atol=1e-6)
    np.testing.assert_allclose(system.predict(long)["share"], expected, atol=1e-6)
    assert len(windows(long[:9600], 9600)) == 1 and len(windows(long[:9601], 9600)) == 2


def test_recordings_that_cannot_be_used_are_refused_with_the_reason(exported, sound, monkeypatch):
    system = load_system(exported)
    with pytest.raises(AudioError, match="399 samples at 16 kHz: at least 400"):
        predict(sound(0, 399), system, 16_000)
    with pytest.raises(AudioError, match="NaN"):
        predict(np.full(4000, np.nan), system, 16_000)
    with pytest.raises(AudioError, match="floats in"):
        predict(np.ones(4000, np.int16), system, 16_000)
    with pytest.raises(ValueError, match="say the rate"):
        predict(sound(0), system)
    with pytest.raises(ValueError, match="a file says its own rate"):
        predict("clip.wav", system, 16_000)
    with pytest.raises(FileNotFoundError):
        predict("nothing.wav", system)
    monkeypatch.setattr(system.encoder, "n_frames", lambda n: max(0, n - 4999))
    with pytest.raises(
        AudioError, match=r"0.250 s is too short: mfcc needs 0.312 s \(5000 samples"
    ):
        predict(sound(0, 4000), system, 16_000)


def test_a_clip_whose_frames_are_not_finite_gets_nan_and_the_others_their_shares(
    exported, sound, monkeypatch
):
    system, clips = load_system(exported), [sound(0), sound(1, 3000)]
    expected, encode = system.shares(clips), system.encoder.encode
    monkeypatch.setattr(
        system.encoder,
        "encode",
        lambda given: [f * (1e30 if len(f) > 20 else 1) for f in encode(given)],
    )
    found = system.shares(clips)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_the_folder_holds_no_code_and_works_elsewhere(exported, copied, sound):
    names = sorted(file.name for file in copied.iterdir())
    assert len(names) == 4 and names[0] == "Anger.safetensors" and names[1].startswith("a--b-")
    assert names[2:] == ["card.md", "system.json"]
    here, there = load_system(exported), load_system(copied)
    assert here.checksum == there.checksum
    np.testing.assert_array_equal(here.shares([sound(0)]), there.shares([sound(0)]))
    assert "must not be used" in there.card and "Early stopping chose" in there.card


@pytest.mark.parametrize("name", ["system.json", "Anger.safetensors", "card.md"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(SystemFolderError, match=f"it has no {name}"):
        load_system(copied)


@pytest.mark.parametrize("name", ["system.json", "Anger.safetensors"])
def test_a_damaged_file_is_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(SystemFolderError, match=f"{name} is damaged.*copy or export"):
        load_system(copied)


def test_networks_of_two_emotions_that_were_swapped_are_refused(copied):
    one, other = sorted(copied.glob("*.safetensors"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(SystemFolderError, match="is not the network that system.json names"):
        load_system(copied)


def change(folder, **entries):
    write_json(folder / "system.json", read_json(folder / "system.json") | entries)


def test_another_encoder_is_refused_by_name(copied):
    settings = read_json(copied / "system.json")["encoder"]
    change(copied, encoder=settings | {"version": "other"})
    with pytest.raises(SystemFolderError, match="encoder 'mfcc' here is not the one.*version"):
        load_system(copied)
    change(copied, encoder=settings | {"encoder": "/nowhere/hubert"})
    with pytest.raises(SystemFolderError, match="reads frames of '/nowhere/hubert'"):
        load_system(copied)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"format": 2}, "has format 2, but this version reads 1"),
        ({"sizes": None}, "no record of a trained system"),
        ({"emotions": ["../Anger"]}, "holds no trained system"),
        ({"architecture": 77}, "architecture = 77"),
        ({"interval": {"nothing": 1}}, "no record of a trained system"),
    ],
)
def test_a_record_of_something_else_is_refused(copied, entries, said):
    change(copied, **entries)
    with pytest.raises(SystemFolderError, match=said):
        load_system(copied)


def test_sizes_of_other_networks_are_refused(copied):
    change(copied, sizes=read_json(copied / "system.json")["sizes"] | {"lstm": 4})
    with pytest.raises(SystemFolderError, match="does not fit the sizes"):
        load_system(copied)


def test_a_system_that_the_run_lacks_is_refused(run, tmp_path):
    with pytest.raises(SystemFolderError, match="did you mean 'mfcc architecture_1-seed_0'"):
        export(run, tmp_path / "to", "mfcc", 1, seed=1)
    with pytest.raises(FileNotFoundError, match="clips.parquet is not there"):
        export(tmp_path, tmp_path / "to", "mfcc", 1)
    assert not (tmp_path / "to").exists()


def test_no_folder_is_written_over(run, exported):
    with pytest.raises(SystemFolderError, match="not empty: name a new folder"):
        export(run, exported, "mfcc", 1)


def test_a_run_whose_frames_were_made_by_another_encoder_is_not_exported(
    run, tmp_path, monkeypatch
):
    other = load_encoder("mfcc", "cpu")
    other.settings = other.settings | {"version": "newer"}
    monkeypatch.setattr("emoshare_utils.predicting.trained.load_encoder", lambda *args: other)
    with pytest.raises(SystemFolderError, match="not the one that the system in .* was trained on"):
        export(run, tmp_path / "to", "mfcc", 1)
    assert not (tmp_path / "to").exists()


def test_a_system_of_other_clips_is_not_exported(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "run")
    corpus = Corpus.load(other)
    corpus.with_clips(corpus.clips.assign(Anger=0.5)).save(other)
    with pytest.raises(SystemFolderError, match="trained on other clips than the run has now"):
        export(other, tmp_path / "to", "mfcc", 1)


def test_a_store_outside_the_run_is_not_read(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "run")
    file = other / "models" / "mfcc" / "architecture_1-seed_0" / "system.json"
    write_json(file, read_json(file) | {"store": "../../elsewhere"})
    with pytest.raises(SystemFolderError, match="names no feature store of"):
        export(other, tmp_path / "to", "mfcc", 1)


def test_weights_of_16_bits_are_half_the_size_and_nearly_the_same(
    run, corpus, exported, tmp_path, sound
):
    folder = run / "models" / "mfcc" / "architecture_2-seed_0"
    half = About(stored_as=torch.float16)
    system = export_folder(corpus, [folder], run / "features", tmp_path / "half", half)
    difference = system.shares([sound(0)]) - load_system(exported).shares([sound(0)])
    assert 0 < np.abs(difference).max() < 2e-3
    size = (tmp_path / "half" / "Anger.safetensors").stat().st_size
    assert size < 0.75 * (exported / "Anger.safetensors").stat().st_size


# Several feature sets, whose shares are averaged


def test_a_fused_system_predicts_the_mean_of_its_members(run, corpus, fused, exported):
    system = load_system(fused)
    of = {
        name: read_system(run / "models" / name / "architecture_2-seed_0").predictions
        for name in ("mfcc", "fbank")
    }
    wide = [p.pivot(index="clip_id", columns="emotion", values="prediction") for p in of.values()]
    expected = (wide[0] + wide[1])[list(corpus.emotions)] / 2
    clips = corpus.clips.set_index("clip_id")["path"].loc[expected.index].map(corpus.path)
    samples = [read_audio(path) for path in clips]
    np.testing.assert_allclose(system.shares(samples), expected, atol=1e-5)
    np.testing.assert_allclose(system.own_shares(samples), load_system(exported).shares(samples))
    assert np.abs(system.own_shares(samples) - expected.to_numpy()).max() > 0.01
    assert system.card.startswith("# MFCC + Mel filterbank (A2), table\n")
    judged = expected.loc[corpus.split("devel")["clip_id"], "Anger"].to_numpy()
    rho = read_json(fused / "system.json")["rho"]["Anger"]
    assert rho == pytest.approx(spearman(corpus.split("devel")["Anger"].to_numpy(), judged))
    assert system.interval != load_system(exported).interval


def test_a_fused_system_needs_all_of_its_members(fused, exported, tmp_path):
    folder = shutil.copytree(fused, tmp_path / "copied")
    shutil.rmtree(folder / "fbank")
    with pytest.raises(SystemFolderError, match="it has no system.json"):
        load_system(folder)
    shutil.copytree(exported, folder / "fbank")  # the wrong one
    with pytest.raises(SystemFolderError, match="fbank is not the system that .* names"):
        load_system(folder)
    record = read_json(folder / "system.json")
    change(folder, beside={"../fbank": record["beside"]["fbank"]})
    with pytest.raises(SystemFolderError, match="names no folder of its own: '../fbank'"):
        load_system(folder)


def test_a_clip_too_short_for_one_member_is_refused(fused, sound, monkeypatch):
    system = load_system(fused)
    assert not system.refusal(sound(0, 4000))
    monkeypatch.setattr(system.beside[0].encoder, "n_frames", lambda n: 0)
    assert "too short: fbank needs" in system.refusal(sound(0, 4000))
    with pytest.raises(AudioError, match="fbank needs"):
        system.predict(sound(0, 4000))
