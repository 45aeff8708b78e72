import dataclasses
import hashlib
import inspect
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from emoshare_utils import corpora
from emoshare_utils.corpora import simulated
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS, Corpus, CorpusError
from emoshare_utils.corpora.simulation.espeak import (
    SAMPLE_RATE_HZ,
    Espeak,
    SpeechError,
    Utterance,
)
from emoshare_utils.corpora.simulation.listeners import rate
from emoshare_utils.corpora.simulation.model import APPRAISALS, PHRASES, Model
from emoshare_utils.corpora.simulation.voices import equalise, perform, plan

SMALL = {"n_clips": 30, "seed": 3, "speakers": 10}


def build(root, **options) -> Corpus:
    return simulated.read(root, **options)[0]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build(tmp_path_factory.mktemp("simulated"), **SMALL)


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def level_db(speech):
    return 20 * np.log10(np.sqrt(np.mean(speech**2)))


# The clip table


def test_the_table_has_the_columns_of_a_corpus(corpus):
    emotions = [
        "Anger",
        "Boredom",
        "Calmness",
        "Concentration",
        "Determination",
        "Excitement",
        "Interest",
        "Sadness",
        "Tiredness",
    ]
    assert list(corpus.emotions) == emotions
    assert list(corpus.clips.columns) == [
        *("clip_id", "path", "split", "speaker", "language", "n_raters", "duration_s"),
        *emotions,
        *("valence", "arousal", "dominance"),
        *(f"expected_{emotion}" for emotion in emotions),
    ]
    assert corpus.clips["n_raters"].dtype == "Int64"
    assert corpus.clips["clip_id"].is_unique
    assert corpus.listeners == "simulated listeners"
    assert corpus.simulated


def test_full_size_has_forty_voices_in_eight_languages_split_60_20_20():
    clips = plan(1200, 0, 40, Model())
    assert clips.groupby("split").size().to_dict() == {"train": 720, "devel": 240, "test": 240}
    assert clips.groupby("split")["speaker"].nunique().to_dict() == {
        "train": 24,
        "devel": 8,
        "test": 8,
    }
    assert (clips.groupby("speaker")["split"].nunique() == 1).all()
    assert clips["voice"].nunique() == 40
    assert (clips.groupby("split")["language"].nunique() == 8).all()


@pytest.mark.parametrize("speakers", [6, 10, 25, 100])
def test_speakers_are_disjoint_and_two_or_more_in_each_split(speakers):
    clips = plan(speakers, 0, speakers, Model())
    assert (clips.groupby("split")["speaker"].nunique() >= 2).all()
    assert clips["speaker"].nunique() == speakers


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speakers": 5}, "speakers = 5: expected 6 or more"),
        ({"n_clips": 9}, "n_clips = 9: expected 10 or more, one for each speaker"),
        ({"n_listeners": 3}, "n_listeners = 3: expected 18 or more"),
        ({"seed": -1}, "seed = -1: expected 0 or more"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **SMALL | wrong)


# The audio


def test_every_clip_is_16_bit_mono_of_1_to_8_seconds_and_not_clipped(corpus):
    assert corpus.clips["duration_s"].between(1, 8).all()
    for clip in corpus.clips.itertuples():
        info = soundfile.info(corpus.path(clip.path))
        assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16")
        assert info.frames / info.samplerate == pytest.approx(clip.duration_s)
        samples, _ = soundfile.read(corpus.path(clip.path), dtype="int16")
        assert 300 < np.abs(samples.astype(int)).max() < 32_767


def test_a_clip_too_long_or_too_short_is_respoken_with_other_phrases(corpus, tmp_path):
    model = Model(phrases=(0.5, 0, 0, 0, 0, 0.5), duration_s=(2.2, 7.0))
    again = build(tmp_path, **SMALL | {"n_clips": 10}, model=model)
    assert again.clips["duration_s"].between(2.2, 7).all()
    impossible = Model(duration_s=(2.0, 2.001))
    with pytest.raises(ValueError, match="sim_00000: no number of phrases lasts"):
        build(tmp_path, **SMALL, model=impossible)


def test_the_same_seed_gives_the_same_bytes_in_any_order(corpus):
    model = Model()
    clips = plan(SMALL["n_clips"], SMALL["seed"], SMALL["speakers"], model)
    with Espeak() as espeak:
        for clip in list(clips.itertuples())[::-3]:
            again = perform(clip, SMALL["seed"], espeak, model)
            made, _ = soundfile.read(corpus.path(f"wav/{clip.clip_id}.wav"), dtype="int16")
            np.testing.assert_array_equal(again, made)


def test_another_seed_gives_other_voices_and_shares(corpus):
    ours, other = (plan(30, seed, 10, Model()) for seed in (3, 4))
    assert not np.isclose(ours["pitch"], other["pitch"]).any()
    assert not np.isclose(ours["valence"], other["valence"]).any()


def test_arousal_makes_the_same_voice_and_text_louder_and_faster():
    base = Model()
    clip = plan(10, 0, 10, base).iloc[0]
    spoken = []
    for arousal in (-1, 1):
        cues = {name: cue.base + arousal * cue.effect[1] for name, cue in base.cues.items()}
        row = next(clip.to_frame().T.assign(**cues).itertuples())
        with Espeak() as espeak:
            spoken.append(perform(row, 0, espeak, base))
    calm, aroused = (speech / 32768 for speech in spoken)
    assert level_db(aroused) > level_db(calm) + 6
    assert len(aroused) < 0.8 * len(calm)


def test_the_equaliser_has_the_gain_of_s3():
    t = np.arange(22_050) / SAMPLE_RATE_HZ
    for f, settings, gain_db in [
        (2000, (3, 0, 0), 6),
        (500, (3, 0, 0), 0),
        (125, (3, 0, 0), 0),
        (2800, (0, 5, 0), 5),
        (300, (0, 0, 4), 2),
    ]:
        tone = np.sin(2 * np.pi * f * t)
        shaped = equalise(tone, *settings)
        assert level_db(shaped[2000:-2000]) - level_db(tone[2000:-2000]) == pytest.approx(
            gain_db, abs=0.1
        )


# Building again


def test_load_gives_the_same_corpus_whose_defaults_are_the_demos(corpus):
    loaded, dropped = corpora.load("simulated", corpus.root, **SMALL)
    assert dropped.empty
    assert loaded.clips.equals(corpus.clips)
    options = inspect.signature(simulated.read).parameters
    defaults = {"n_clips": 720, "speakers": 40, "seed": 0}
    assert {name: options[name].default for name in defaults} == defaults


def test_what_a_killed_run_left_is_removed(corpus, tmp_path):
    shutil.copytree(corpus.root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "wav" / ".sim_00007.wav.0123456789ab.tmp").write_bytes(b"RIFF")
    (tmp_path / "wav" / "sim_00007.wav").unlink()
    build(tmp_path, **SMALL)
    assert digests(tmp_path / "wav") == digests(corpus.root / "wav")


def test_speakers_of_chosen_languages(tmp_path):
    few = {**SMALL, "languages": ["tr", "en"]}
    found, _ = simulated.read(tmp_path, **few)
    assert set(found.clips["language"]) == {"tr", "en"}
    assert found.clips["speaker"].str[:2].eq(found.clips["language"]).all()
    assert set(plan(30, 0, 30, Model())["language"]) == set(PHRASES)
    before = digests(tmp_path / "wav")
    simulated.read(tmp_path, **SMALL | {"languages": ["it", "fr"]})
    assert not before.items() & digests(tmp_path / "wav").items()  # other files of the same names
    with pytest.raises(CorpusError, match=r"languages = \['xx'\]: expected some of de, en, es"):
        simulated.read(tmp_path, **SMALL | {"languages": ["xx"]})


def test_a_second_build_speaks_nothing(corpus, monkeypatch):
    before = digests(corpus.root / "wav")
    monkeypatch.setattr(simulated, "Espeak", None)
    again = build(corpus.root, **SMALL)
    assert again.clips.equals(corpus.clips)
    assert digests(corpus.root / "wav") == before


def test_an_interrupted_build_resumes_and_ends_the_same(corpus, tmp_path, monkeypatch):
    speak, count = Espeak.speak, [0]

    def interrupted(self, utterance):
        count[0] += 1
        if count[0] == 20:
            raise KeyboardInterrupt
        return speak(self, utterance)

    monkeypatch.setattr(Espeak, "speak", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, **SMALL)
    resumed = build(tmp_path, **SMALL)
    assert count[0] < 20 + 20  # the clips already there were kept
    assert digests(tmp_path / "wav") == digests(corpus.root / "wav")
    assert resumed.clips.equals(corpus.clips)


def test_other_arguments_or_a_damaged_file_never_leave_stale_audio(corpus, tmp_path):
    build(tmp_path, **SMALL | {"n_clips": 12, "seed": 8})
    build(tmp_path, **SMALL)
    assert digests(tmp_path / "wav") == digests(corpus.root / "wav")
    wav = tmp_path / "wav" / "sim_00004.wav"
    wav.write_bytes(wav.read_bytes()[:-1000])
    build(tmp_path, **SMALL)
    assert digests(tmp_path / "wav") == digests(corpus.root / "wav")
    smaller = build(tmp_path, **SMALL | {"n_clips": 12})
    assert len(list((tmp_path / "wav").iterdir())) == len(smaller.clips) == 12


def test_only_its_own_files_are_removed(tmp_path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "mine.wav").write_bytes(b"mine")
    build(tmp_path, n_clips=6, speakers=6)
    assert (tmp_path / "wav" / "mine.wav").read_bytes() == b"mine"


# The simulated listeners


def test_a_share_is_a_fraction_of_the_panel(corpus):
    shares = corpus.clips[list(corpus.emotions)].to_numpy()
    ticks = shares * corpus.clips["n_raters"].to_numpy(float)[:, None]
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(ticks, ticks.round(), atol=1e-9)
    assert corpus.clips["n_raters"].between(10, 18).all()


@pytest.fixture(scope="module")
def rated():
    """The full corpus's plan and ratings, unspoken."""
    model = Model()
    clips = plan(1200, 0, 40, model)
    return clips, rate(clips, 0, 200, model)


def test_most_shares_are_near_zero_and_some_are_large(rated):
    shares = rated[1][list(PAPER_EMOTIONS)]
    assert (shares.median() < 0.15).all()
    assert (shares.quantile(0.9) > 0.3).all()
    assert (shares.max() > 0.75).all()
    assert (shares.skew() > 1).all()


def test_the_expected_share_is_the_mean_of_fresh_panels(rated):
    clips, _ = rated
    one = clips.iloc[[0] * 2000].reset_index(drop=True)  # one clip before 2,000 panels
    ratings = rate(one, 0, 200, Model())
    for emotion in PAPER_EMOTIONS:
        assert ratings[emotion].mean() == pytest.approx(
            ratings[f"expected_{emotion}"].iloc[0], abs=0.012
        )


def test_a_clip_at_the_centre_of_an_emotion_gets_its_largest_share(rated):
    clips, _ = rated
    model = Model()
    for emotion, profile in model.profiles.items():
        centred = clips.head(1).assign(**dict(zip(APPRAISALS, profile.centre)))
        ratings = rate(centred, 0, 200, model)
        expected = ratings[[f"expected_{name}" for name in model.profiles]].iloc[0]
        assert expected.idxmax() == f"expected_{emotion}"
        assert expected.max() > 0.7


def test_listeners_are_less_certain_in_a_language_they_do_not_know(rated):
    clips, _ = rated
    anger = Model().profiles["Anger"].centre
    centred = clips.head(1).assign(**dict(zip(APPRAISALS, anger)))
    all_know, none_knows = (
        rate(centred, 0, 200, Model(known=u, unknown=u))["expected_Anger"][0] for u in (0.3, 0.5)
    )
    mixed = rate(centred, 0, 200, Model())["expected_Anger"][0]
    assert none_knows < mixed < all_know


# eSpeak NG


def test_an_utterance_does_not_depend_on_the_one_before():
    first, second = Utterance("One and two.", "en+f2"), Utterance("Drei.", "de+m3", rate_wpm=120)
    with Espeak() as espeak:
        a = espeak.speak(first), espeak.speak(second)
        b = espeak.speak(second), espeak.speak(first), espeak.speak(first)
    assert a == (b[1], b[0])
    assert b[1] == b[2]
    assert len(a[0]) > 22_050


def test_an_utterance_does_not_depend_on_the_time_of_day():
    breathy = Utterance("One and two.", "en+f5")  # the library draws breath from the clock's second
    with Espeak() as espeak:
        before = espeak.speak(breathy)
    time.sleep(1.1)
    with Espeak() as espeak:
        assert espeak.speak(breathy) == before


def test_a_wrong_voice_or_variant_is_named_and_the_next_utterance_still_works():
    with Espeak() as espeak:
        with pytest.raises(SpeechError, match="voice 'xx' and text 'Hello.': there is no such"):
            espeak.speak(Utterance("Hello.", "xx"))
        with pytest.raises(SpeechError, match="'en.nobody' .*there is no variant 'nobody'"):
            espeak.speak(Utterance("Hello.", "en+nobody"))
        assert espeak.speak(Utterance("Hello.", "en"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text": " "}, "needs a text"),
        ({"rate_wpm": 20}, "rate_wpm is 20, but eSpeak NG takes 80 to 450"),
        ({"pitch": 100}, "pitch is 100, but eSpeak NG takes 0 to 99"),
    ],
)
def test_an_utterance_out_of_range_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Utterance("Hello.", "en"), **wrong)


def test_a_helper_that_ended_is_an_error_that_names_the_text():
    with Espeak() as espeak:
        espeak._helper.kill()
        espeak._helper.wait()
        with pytest.raises(SpeechError, match=r"ended \(exit code -9\) before .*'Hello.'"):
            espeak.speak(Utterance("Hello.", "en"))


def test_a_child_that_crashes_is_reported_and_reaped():
    script = (
        "import os, signal\n"
        "from emoshare_utils.corpora.simulation import espeak\n"
        "espeak._say = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "print(espeak._speak_in_child(None, {}))\n"
        "try:\n    os.waitpid(-1, 0)\n"
        "except ChildProcessError:\n    print('no child left')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "(b'', 'the child was ended by SIGSEGV')\nno child left\n"
