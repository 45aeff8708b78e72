"""The quickstart's figures: attention over the spectrogram, and the pipeline in a row."""

import numpy as np
import pandas as pd
import pytest
from figure_data import texts
from matplotlib.image import imread
from matplotlib.text import Text

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.results.figures import save
from emoshare_utils.results.figures.quickstart import Walk, attention, pipeline

SECONDS, STATE_S = 2.0, 0.16


def samples(seconds=SECONDS):
    """A click at 1 s in silence, and some noise."""
    found = np.random.default_rng(0).normal(0, 1e-3, round(seconds * SAMPLE_RATE))
    found[SAMPLE_RATE : SAMPLE_RATE + 400] = 0.5
    return found.astype(np.float32)


def weights(n, at):
    """(n,) with most of the weight `at` one state."""
    found = np.full(n, 0.5 / n)
    found[at] += 0.5
    return found


def walk(n_states=12, emotions=("Anger", "Sadness"), lengths=(99, 60), width=50):
    rng, longest = np.random.default_rng(0), max(lengths)
    features = rng.normal(size=(2, longest, width)) * (
        np.arange(longest)[:, None] < np.array(lengths)[:, None, None]
    )
    shares = pd.DataFrame({"emotion": emotions, "share": 0.4, "low": 0.1, "high": 0.8})
    states = rng.normal(size=(n_states, 7))
    frames = np.maximum(0, states)
    about = features, np.array(lengths), frames, states
    return Walk(samples(), *about, weights(n_states, 0), STATE_S, shares)


def test_spectrogram_and_weights_have_one_axis_in_seconds():
    given = {"Anger": weights(12, 6), "Sadness": weights(12, 0)}
    figure = attention(samples(), given, STATE_S, "a clip")
    figure.draw_without_rendering()
    spectrum, rows, line = (axes for axes in figure.axes if axes.get_xlim() == (0, SECONDS))
    places = [axes.get_position().intervalx for axes in (spectrum, rows, line)]
    np.testing.assert_allclose(places, [places[0]] * 3)

    (image,) = spectrum.images
    left, right, *_ = image.get_extent()
    power = image.get_array().mean(axis=0)
    loudest = left + (np.argmax(power) + 0.5) * (right - left) / len(power)
    values, edges, _ = line.patches[0].get_data()
    heaviest = edges[np.argmax(values) : np.argmax(values) + 2]
    assert heaviest[0] < loudest < heaviest[1] and loudest == pytest.approx(1.0, abs=0.05)
    assert [label.get_text() for label in rows.get_yticklabels()] == ["Anger", "Sadness"]
    assert rows.collections[0].get_array().shape == (2, 12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_samples", [400, 32_000])
def test_digital_silence_has_a_spectrogram(tmp_path, n_samples):
    silent = np.zeros(n_samples, np.float32)
    silent[200] = 0.5
    figure = attention(silent, {"Anger": np.ones(1)}, STATE_S, "")
    save(figure, tmp_path, "attention", pd.DataFrame({"a": [1]}), "")
    (image,) = figure.axes[0].images
    assert np.isfinite(image.get_array()).all() and np.ptp(image.get_array()) <= 70.001


def test_orange_is_more_than_the_mean_gives_and_blue_less():
    figure = attention(samples(), {"a": weights(4, 3), "b": weights(4, 0)}, 0.5, "")
    (mesh,) = (c for axes in figure.axes for c in axes.collections if c.get_array() is not None)
    red, _, blue, _ = mesh.to_rgba(np.array([0.05, 0.25, 0.6])).T.round(2)
    assert red[0] < blue[0] and red[2] > blue[2] and (red[1], blue[1]) == (1, 1)


def test_emotions_with_the_very_same_weights_are_one_row():
    one, other = weights(12, 6), weights(12, 0)
    given = {"Anger": one, "Fear": other, "Joy": other.copy(), "Sad": one}
    figure = attention(samples(), given, STATE_S, "a clip", "MFCC (A2), seed 0")
    rows = figure.axes[1]
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert names == ["Anger, Sad", "Fear, Joy"]
    drawn = rows.collections[0].get_array()
    np.testing.assert_allclose(drawn, np.stack([one, other]))
    assert figure.get_supxlabel() == "MFCC (A2), seed 0"
    bar = figure.axes[-1] if figure.axes[-1].get_ylabel() == "weight" else figure.axes[2]
    assert all(axes.get_ylim()[0] >= 0 for axes in (bar, rows.child_axes[0]))


def test_the_frequency_axis_ends_where_the_audio_does():
    rng = np.random.default_rng(0)
    full = rng.normal(size=SAMPLE_RATE)
    spectrum = np.fft.rfft(full)
    spectrum[4000:] = 0  # of 1 Hz each
    low = np.fft.irfft(spectrum)
    for signal, top in ((full, 8000), (low, 5000)):
        axes = attention(signal, {"Joy": np.ones(4) / 4}, STATE_S, "").axes[0]
        assert axes.get_ylim()[0] == 0 and abs(axes.get_ylim()[1] - top) <= 1000


@pytest.mark.parametrize("n_states", [1, 2])
def test_one_emotion_and_very_short_clips(tmp_path, n_states):
    found = {"Anger": np.full(n_states, 1 / n_states)}
    figure = attention(samples(), found, STATE_S, "$a$ clip")
    save(figure, tmp_path, "attention", pd.DataFrame(found), "")
    assert "equal weights (Eq. 1)" in texts(figure) and "$a$ clip" in texts(figure)
    both = {"Anger": found["Anger"], "Sadness": found["Anger"]}
    save(attention(samples(), both, STATE_S, ""), tmp_path, "both", pd.DataFrame(both), "")
    save(pipeline(walk(n_states)), tmp_path, "pipeline", pd.DataFrame(found), "")


@pytest.mark.parametrize("lengths", [(99, 60), (60, 99)])
def test_the_pipeline_says_the_shapes_and_is_a_small_wide_picture(tmp_path, lengths):
    emotions = ("Anger", "Concentration", "Determination", "Sadness")
    given = walk(emotions=emotions, lengths=lengths)
    for _ in range(2):
        save(pipeline(given), tmp_path, "pipeline", given.shares, "a synthetic voice")
    words = texts(pipeline(given))
    for said in (f"L = {lengths[0]}, W = 50", "N = 2, L = 99", "60 real frames", "L' = 12"):
        assert said in words
    for said in ("masked mean (Eq. 1)", "attention (Eq. 2)", *emotions):
        assert said in words
    height, width, _ = imread(tmp_path / "pipeline.png").shape
    assert width == 1600 and height < 500
    assert (tmp_path / "pipeline.png").stat().st_size < 150_000


def test_no_words_of_the_pipeline_overlap():
    figure = pipeline(walk(emotions=("Concentration", "Determination", "Sadness")))
    figure.draw_without_rendering()
    found = (text for text in figure.findobj(Text) if text.get_text() and text.get_visible())
    boxes = [text.get_window_extent() for text in found]
    assert len(boxes) > 20
    for place, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width
        assert not any(box.overlaps(other) for other in boxes[:place])
