"""Pretraining: audio, the targets, resuming after a kill, what is kept, what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy
import torch
import transformers

from emoshare_utils.corpora.audio import read_audio
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.pretrained import MINI, MINIS
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.files import FolderError, locked
from emoshare_utils.pretraining import targets
from emoshare_utils.pretraining.audio import (
    Audio,
    as_int16,
    change_speed,
    crop,
    draw_batches,
    listen,
    n_frames,
)
from emoshare_utils.pretraining.hubert import Hubert
from emoshare_utils.pretraining.model_card import model_card
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.pretrain import pretrain, signs_of_collapse
from emoshare_utils.pretraining.wav2vec2 import Wav2Vec2

TINY = MiniConfig(conv=(32, 24), width=32, layers=2, heads=2, feed_forward=48)
PLAN = Plan(updates=6, seconds=4.0)


@pytest.fixture
def audio(sound) -> Audio:
    """Sixteen sounds of 1 to 2.5 s."""
    clips = [(32_000 * sound(i, 16_000 + 1_600 * i)).astype(np.int16) for i in range(16)]
    sources = {"source": "noise", "languages": "en", "clips": 16, "speakers": 1, "hours": 0.01}
    return Audio(clips, pd.DataFrame([sources | {"speeds": "1"}]))


@pytest.fixture
def labels(audio, tmp_path):
    return targets.label_by_acoustics(audio, tmp_path / "labels.npz", 8)


def weights(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["objective"]


def history_of(folder):
    return pd.DataFrame(torch.load(folder / "checkpoint.pt", weights_only=True)["history"])


# Audio


def test_only_the_train_split_is_read_at_every_speed(corpus):
    audio = listen({"table": corpus}, {"table": [1.0, 0.5]})
    train = corpus.split("train")
    lengths = [len(read_audio(corpus.root / path)) for path in train["path"]]
    kept = [n for n in lengths if n_frames(n) >= 20]
    assert [len(clip) for clip in audio.clips[: len(kept)]] == kept
    slow = [2 * n for n in lengths if n_frames(2 * n) >= 20]
    assert [len(clip) for clip in audio.clips[len(kept) :]] == slow
    (source,) = audio.sources.itertuples()
    assert (source.clips, source.speakers, source.speeds) == (4, 4, "1 0.5")
    assert source.hours == pytest.approx(sum(lengths) / 16_000 / 3600)


def test_faster_is_higher():
    t = np.arange(32_000) / 16_000
    fast = change_speed(as_int16(np.sin(2 * np.pi * 200 * t)), 1.25)
    assert len(fast) == 25_600
    spectrum = np.abs(np.fft.rfft(fast))
    assert spectrum.argmax() * 16_000 / len(fast) == pytest.approx(250, abs=1)


def test_no_speech_is_refused(corpus):
    with pytest.raises(ValueError, match="lasts 20 frames"):
        listen({"table": corpus.with_clips(corpus.clips.iloc[:1])})
    with pytest.raises(ValueError, match=r"speeds of table = \[0.0\]: expected some above 0"):
        listen({"table": corpus}, {"table": [0.0]})


# Targets


def test_a_label_for_every_frame_of_the_encoder(audio, labels):
    for clip, own in enumerate(labels):
        length = n_frames(len(audio.clips[clip]))
        assert own.shape == (length, len(targets.VIEWS)) and own.dtype == np.int16
        assert targets.acoustics(audio.samples(clip)).shape == (length, 43)
    for view in np.concatenate(labels).T:
        assert set(view) == set(range(8))


def test_acoustics_hear_what_the_frame_hears():
    """A click moves the MFCC of the frames whose 25 ms hold it, and the level of a few more."""
    silent = np.zeros(16_000, np.float32)
    click = silent.copy()
    click[320 * 20 + 200] = 1.0  # the middle of frame 20
    moved = np.abs(targets.acoustics(click) - targets.acoustics(silent))
    mfcc, level = moved[:, :40].max(1), moved[:, 42]
    assert mfcc.argmax() == 20 and set(np.flatnonzero(mfcc > 1e-3)) <= {19, 20, 21}
    assert level.argmax() == 20 and set(np.flatnonzero(level > 1e-3)) <= {19, 20, 21}


@pytest.mark.parametrize("hz", [80, 125, 200, 320])
def test_voice_finds_pitch_voicing_and_level(hz):
    t, rng = np.arange(16_000) / 16_000, np.random.default_rng(0)
    tones = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 6)).astype(np.float32)
    pitch, voicing, level = targets.voice(tones)[3:-3].T
    np.testing.assert_allclose(voicing, 1, atol=0.02)
    np.testing.assert_allclose(pitch / voicing, np.log2(hz / 100), atol=0.03)
    louder = targets.voice(2 * tones)[3:-3, 2]
    np.testing.assert_allclose(louder - level, np.log(4), atol=1e-3)
    noise = rng.normal(size=16_000).astype(np.float32)
    assert np.median(targets.voice(noise)[:, 1]) < 0.4


@pytest.mark.parametrize("view", targets.VIEWS)
def test_a_view_is_the_cosine_transform_over_time(view):
    x = np.random.default_rng(0).normal(size=(90, 43))
    (first, end), n = view.columns, view.frames
    found = targets.temporal_dct(x, view)
    assert found.shape == (90, (end - first) * view.terms)
    held = np.pad(x, ((n, n), (0, 0)), mode="edge")
    for at in (0, 40, 89):
        around = held[n + at - n // 2 :][:n, first:end]
        expected = scipy.fft.dct(around, axis=0)[: view.terms] / (2 * n)
        np.testing.assert_allclose(found[at], expected.ravel(), atol=1e-12)


def test_labels_are_read_where_they_are_those_of_the_arguments(audio, labels, tmp_path, capsys):
    file = tmp_path / "labels.npz"
    capsys.readouterr()
    again = targets.label_by_acoustics(audio, file, 8)
    assert "MFCC" not in capsys.readouterr().out
    assert all(np.array_equal(*pair) for pair in zip(labels, again, strict=True))
    other = targets.label_by_acoustics(audio, file, 5)
    assert "MFCC" in capsys.readouterr().out and np.concatenate(other).max() == 4
    for left in (200, 0):  # bytes, after a full disk
        file.write_bytes(file.read_bytes()[:left])
        targets.label_by_acoustics(audio, file, 5)
        assert f"{file} is damaged" in capsys.readouterr().out


def test_second_targets_are_clusters_of_the_layer(audio, labels, tmp_path):
    pretrain("hubert", audio.labelled(labels), tmp_path / "first", PLAN, TINY)
    second = targets.label_by_layer(
        audio, tmp_path / "2.npz", load_encoder(f"{tmp_path / 'first'}@1"), 6
    )
    assert [clip.shape for clip in second] == [(len(clip), 1) for clip in labels]
    frames = load_encoder(f"{tmp_path / 'first'}@1").frames(audio.samples(0))
    own = second[0][:, 0]
    means = np.stack([frames[own == label].mean(0) for label in sorted(set(own))])
    far = np.linalg.norm((frames[:, None] - means) / frames.std(0), axis=-1)
    nearest = np.array(sorted(set(own)))[far.argmin(1)]
    assert (nearest == own).mean() > 0.8  # means of one clip stand for those of all


def test_labels_side_by_side(labels):
    more = [np.arange(len(clip)) for clip in labels]
    for clip, own, both in zip(labels, more, targets.side_by_side([labels, more])):
        np.testing.assert_array_equal(both[:, :-1], clip)
        np.testing.assert_array_equal(both[:, -1], own)


def test_too_few_frames_for_the_clusters(audio, tmp_path):
    short = replace(audio, clips=audio.clips[:1])
    with pytest.raises(ValueError, match="49 frames of speech are too few for 100 clusters"):
        targets.label_by_acoustics(short, tmp_path / "labels.npz", 100)


# Updates


def test_batches_hold_every_clip_once_an_epoch_and_as_much_as_asked(audio):
    batches = draw_batches(audio, PLAN)
    first = []
    while len(first) < 16:
        batch = next(batches)
        shortest = min(len(audio.clips[clip]) for clip in batch)
        assert shortest * len(batch) < 4 * 16_000 + 2 * shortest
        first += batch
    assert sorted(first) == list(range(16))
    again = draw_batches(audio, PLAN)
    assert next(again) == first[: len(next(draw_batches(audio, PLAN)))]


def test_crops_and_their_labels_are_of_the_same_frames(audio):
    numbered = [np.arange(n_frames(len(clip))) for clip in audio.clips]
    samples, labels = crop(audio.labelled(numbered), [3, 9, 12], PLAN, update=5)
    assert labels.shape == (3, 64) and samples.shape == (3, 400 + 320 * 63)
    for clip, cropped, own in zip([3, 9, 12], samples, labels):
        assert (np.diff(own) == 1).all()
        whole = audio.samples(clip)
        np.testing.assert_array_equal(cropped, whole[320 * own[0] :][: len(cropped)])
        assert whole.mean() == pytest.approx(0, abs=1e-4) and whole.std() == pytest.approx(1, 1e-3)


def test_no_crop_is_longer_than_an_update(audio):
    long = replace(audio, clips=[np.tile(clip, 20) for clip in audio.clips])
    samples, _ = crop(long, [0, 3], PLAN, update=0)
    assert samples.shape == (2, 400 + 320 * 191)  # 4 s in multiples of 16 frames


def test_the_learning_rate_rises_and_falls():
    rates = np.array(
        [Plan(100, learning_rate=2.0, warmup=0.1).learning_rate_at(i) for i in range(100)]
    )
    assert rates.max() == 2.0 and rates.argmax() == 9
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.05


def test_checkpoints_keep_their_stored_names():
    """An earlier version's checkpoint resumes: what it says of the plan, and its weights' names."""
    names = "updates seconds learning_rate warmup hidden span dropout clip_gradient seed"
    assert list(replace(PLAN, checkpoint_every=1).stored()) == names.split()
    assert PLAN.stored()["hidden"] == PLAN.mask_probability
    heads = [name for name in Hubert(TINY, [3]).state_dict() if not name.startswith("encoder.")]
    assert heads == ["project.0.weight", "project.0.bias", "codes.0"]
    assert all(name.startswith("model.") for name in Wav2Vec2(TINY).state_dict())


@pytest.fixture
def tones(audio) -> Audio:
    """Four tones in turn, .2 s each, from anywhere in the cycle: the masked can be predicted."""
    t = np.arange(64_000) / 16_000
    tone = np.sin(2 * np.pi * np.array([300, 700, 1500, 3100])[(t / 0.2).astype(int) % 4] * t)
    starts = np.random.default_rng(0).integers(0, 12_000, 16)
    return replace(
        audio, clips=[(9_000 * tone[at : at + 32_000]).astype(np.int16) for at in starts]
    )


@pytest.mark.parametrize("objective", ["hubert", "wav2vec2"])
def test_a_small_network_learns(objective, tones, tmp_path):
    plan = replace(PLAN, updates=100, learning_rate=3e-3, dropout=0.0, checkpoint_every=25)
    labels = targets.label_by_acoustics(tones, tmp_path / "labels.npz", 4)
    history = pretrain(objective, tones.labelled(labels), tmp_path / "encoder", plan, TINY)
    assert list(history["update"]) == [25, 50, 75, 100]
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[0]
    assert history["accuracy"].iloc[-1] > 2 * history["accuracy"].iloc[0]


# A process each, forked from one that has imported everything and computed nothing, on one thread:
# sums in another order differ in the last digits.
PRETRAIN = """
import os, signal, sys
from contextlib import redirect_stdout
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import numpy as np
import pandas as pd
from conftest import sound
from emoshare_utils.pretraining.pretrain import Pretrainer
from test_pretrain import PLAN, TINY, Audio, pretrain, replace, targets

def run(objective, folder, dies_at=None):
    clips = [(32_000 * sound(i, 16_000 + 1_600 * i)).astype(np.int16) for i in range(16)]
    audio, update = Audio(clips, pd.DataFrame()), Pretrainer.update
    labels = targets.label_by_acoustics(audio, folder / "labels.npz", 8)
    def killed(self, number, *batch):
        number == dies_at and os.kill(os.getpid(), signal.SIGKILL)
        return update(self, number, *batch)
    Pretrainer.update = killed
    plan = replace(PLAN, checkpoint_every=1)
    with (folder / "said.txt").open("w") as said, redirect_stdout(said):
        pretrain(objective, audio.labelled(labels), folder, plan, TINY)

for objective in ("hubert", "wav2vec2"):
    for name, *dies_at in [("killed", 3), ("killed",), ("whole",)]:
        folder = Path(sys.argv[1]) / objective / name
        folder.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if not child:
            run(objective, folder, *dies_at)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status == (signal.SIGKILL if dies_at else 0), (objective, name, dies_at)
"""


@pytest.fixture(scope="module")
def killed_and_whole(tmp_path_factory) -> Path:
    """For each objective a pretraining that was killed and resumed, and one that was not."""
    folder = tmp_path_factory.mktemp("pretraining")
    tests = [str(folder) for folder in Path(__file__).parents[:2]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PRETRAIN, folder, *tests]
    subprocess.run(command, env=environment, check=True, timeout=300)
    return folder


@pytest.mark.parametrize("objective", ["hubert", "wav2vec2"])
def test_a_killed_pretraining_resumes_to_the_same_weights(objective, killed_and_whole):
    folders = [killed_and_whole / objective / name for name in ("killed", "whole")]
    assert "resumes after update 3" in (folders[0] / "said.txt").read_text()
    history, expected = map(history_of, folders)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), expected.drop(columns="seconds"))
    killed, never = map(weights, folders)
    assert all(torch.equal(killed[name], never[name]) for name in never)


def test_a_finished_pretraining_is_read(audio, tmp_path, capsys):
    first = pretrain("wav2vec2", audio, tmp_path / "a", PLAN, TINY)
    model = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
    again = pretrain("wav2vec2", audio, tmp_path / "a", PLAN, TINY)
    pd.testing.assert_frame_equal(first, again)
    assert (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns == model
    pretrain("wav2vec2", audio, tmp_path / "a", replace(PLAN, seed=1), TINY)
    assert "checkpoint.pt is of other settings" in capsys.readouterr().out
    earlier = tmp_path / "a" / "earlier-1"
    assert (earlier / "model.safetensors").stat().st_mtime_ns == model  # a night's work is kept
    assert load_encoder(str(earlier)).width == 32 and (earlier / "checkpoint.pt").is_file()
    checkpoint = tmp_path / "a" / "checkpoint.pt"
    checkpoint.write_bytes(b"")  # a finished encoder does not need it
    whole = (earlier / "checkpoint.pt").read_bytes()
    pretrain("wav2vec2", audio, tmp_path / "a", replace(PLAN, seed=1), TINY)
    assert str(tmp_path) not in capsys.readouterr().out
    checkpoint.write_bytes(whole)
    (tmp_path / "a" / "export.json").unlink()
    for number, left in enumerate((1000, 0, None), start=2):  # bytes
        (tmp_path / "a" / "export.json").unlink(missing_ok=True)
        if left is None:
            checkpoint.unlink()
        else:
            checkpoint.write_bytes(checkpoint.read_bytes()[:left])
        model = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
        pretrain("wav2vec2", audio, tmp_path / "a", PLAN, TINY)
        said = "has no checkpoint.pt" if left is None else f"{checkpoint} is damaged"
        out, aside = capsys.readouterr().out, tmp_path / "a" / f"earlier-{number}"
        assert said in out and str(aside) in out
        assert (aside / "model.safetensors").stat().st_mtime_ns == model


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_an_encoder_that_is_damaged_is_exported_again(audio, tmp_path, capsys, name):
    pretrain("wav2vec2", audio, tmp_path, PLAN, TINY)
    files = ("config.json", "preprocessor_config.json", "model.safetensors", "export.json")
    whole = {file: (tmp_path / file).read_bytes() for file in files}
    middle = len(whole[name]) // 2
    flipped = whole[name][:middle] + bytes([whole[name][middle] ^ 1]) + whole[name][middle + 1 :]
    for content in (None, b"", whole[name][:middle], flipped):
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        pretrain("wav2vec2", audio, tmp_path, PLAN, TINY)
        assert f"{tmp_path / name} is lost or damaged" in capsys.readouterr().out
        assert {file: (tmp_path / file).read_bytes() for file in files} == whole


def test_a_folder_is_pretrained_by_one_process_at_a_time(audio, tmp_path):
    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a"), pytest.raises(FolderError, match="by another run"):
        pretrain("wav2vec2", audio, tmp_path / "a", PLAN, TINY)


def test_a_second_iteration_starts_from_the_weights_of_the_first(audio, labels, tmp_path, capsys):
    labelled, still = audio.labelled(labels), replace(PLAN, updates=1, learning_rate=0.0)
    pretrain("hubert", labelled, tmp_path / "a", PLAN, TINY)
    start = tmp_path / "a"
    pretrain("hubert", labelled, tmp_path / "b", still, TINY, start=start)
    a, b = (load_encoder(str(tmp_path / name)).frames(audio.samples(0)) for name in "ab")
    np.testing.assert_array_equal(a, b)
    other = replace(PLAN, seed=1)  # a first iteration of the same name, but with other weights
    pretrain("hubert", labelled, start, other, TINY)
    pretrain("hubert", labelled, tmp_path / "b", still, TINY, start=start)
    assert f"{tmp_path / 'b' / 'checkpoint.pt'} is of other settings" in capsys.readouterr().out


# What is kept


def test_the_encoder_is_a_folder_that_transformers_loads(audio, tmp_path):
    folder = tmp_path / "encoder"
    history = pretrain("wav2vec2", audio, folder, PLAN, TINY)
    model = transformers.AutoModel.from_pretrained(folder)
    assert isinstance(model, transformers.Wav2Vec2Model) and model.dtype == torch.float16
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"] is True
    encoder = load_encoder(str(folder))
    assert encoder.width == 32 and encoder.settings["normalise"] is True
    with torch.no_grad():
        plain = model.float().eval()(torch.from_numpy(audio.samples(0))[None]).last_hidden_state
    np.testing.assert_allclose(encoder.frames(audio.samples(0)), plain[0], atol=1e-4)

    card = model_card(folder, audio, PLAN, history.assign(iteration=1), "cpu")
    parts = ("contrastive", "| noise | en | 16 |", "6 of about 4 s", "of the processor")
    for part in (*parts, "license: other", "Licences: noise: see there"):
        assert part in card, part
    assert "{" not in card


# What is refused, and what is reported


def test_what_is_refused(audio, labels, tmp_path):
    with pytest.raises(ValueError, match="objective = 'wavlm': expected one of hubert, wav2vec2"):
        pretrain("wavlm", audio, tmp_path, PLAN, TINY)
    with pytest.raises(ValueError, match="hubert needs labels"):
        pretrain("hubert", audio, tmp_path, PLAN, TINY)
    for wrong in (labels[1:], [*labels[1:], labels[0]]):
        with pytest.raises(ValueError, match="expected one for each frame of each clip"):
            audio.labelled(wrong)
    for name, value in {"updates": 0, "seconds": 0.0, "mask_probability": 1.0, "span": 17}.items():
        with pytest.raises(ValueError, match=f"{name} = {value}: expected"):
            replace(PLAN, **{name: value})
    wild = replace(PLAN, learning_rate=1e30, checkpoint_every=2)
    with pytest.raises(ValueError, match="is not finite: set a lower learning rate than 1e"):
        pretrain("wav2vec2", audio, tmp_path, wild, TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernels": (400, 3)}, "together 400 samples per frame, one every 320"),
        ({"strides": (320,)}, "as many of each"),
        ({"conv": (30, 24)}, r"conv\[0\] = 30: expected a multiple of 4"),
        ({"heads": 3}, "width = 32: expected a multiple of 3"),
    ],
)
def test_a_network_that_fits_no_frames_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_the_encoders_of_the_package_are_on_equal_terms():
    cards = [(MINI / name / "README.md").read_text() for name in MINIS]
    ours, theirs = (card.split("## Data")[1].split("## Intended use")[0] for card in cards)
    assert ours == theirs
    histories = [pd.read_csv(MINI / name / "history.csv") for name in MINIS]
    made = [h.groupby("iteration")["update"].max().sum() for h in histories]
    assert made[0] == made[1] == 8000


def test_signs_of_collapse():
    good = pd.DataFrame({"loss": [4.0, 3.5, 3.0], "use": [9.0, 20, 40], "gradient": [1.0, 1, 1]})
    assert signs_of_collapse("hubert", good) == []
    bad = pd.DataFrame({"loss": [4.0, 3.5, 4.1], "use": [9.0, 5, 1.2], "gradient": [1.0, 1, 1e-7]})
    signs = " ".join(signs_of_collapse("wav2vec2", bad))
    assert "only 1.2 codebook entries" in signs
    assert "vanished" in signs and "above the first row's" in signs
