"""Progress outside a terminal: plain lines, few of them, the last one always."""

import pytest

from emoshare_utils import progress


def test_lines_are_plain_and_end_with_the_total(capsys):
    assert list(progress.track(range(5), "extracting fbank", every_s=0.0)) == list(range(5))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "\r" not in "".join(lines)
    assert lines[0].startswith("extracting fbank: 1 of 5 clips in 0 s") and "left" in lines[0]
    assert lines[-1].startswith("extracting fbank: 5 of 5 clips") and "left" not in lines[-1]


def test_a_quick_loop_says_one_line(capsys):
    list(progress.track((i for i in range(3)), "training", unit="epochs"))
    assert capsys.readouterr().out.count("training: 3 epochs in 0 s") == 1


def test_one_quick_item_has_no_rate(capsys):
    list(progress.track(range(1), "predicting", unit="recordings"))
    assert capsys.readouterr().out == "predicting: 1 of 1 recordings in 0.0 s\n"


def test_the_pace_of_slow_steps_is_seconds_each(capsys, monkeypatch):
    clock = iter([0.0, 30.0, 60.0, 60.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    list(progress.track(range(2), "training", unit="epochs"))
    assert "1 of 2 epochs in 30 s (30.0 s each, 30 s left)" in capsys.readouterr().out


def test_stopping_early_still_says_how_far_it_came(capsys):
    for epoch in progress.track(range(1, 11), "training", unit="epochs"):
        if epoch == 4:
            break
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("training: 3 of 10 epochs") and "left" not in line


def test_nothing_to_do_says_so(capsys):
    list(progress.track([], "extracting fbank"))
    assert capsys.readouterr().out == "extracting fbank: nothing left to do\n"


def track_audio(steps, total: float):
    """As extraction does: a step is so many seconds of audio."""
    for _ in progress.track(steps, "extracting fbank", total, "s of audio", amount=float):
        pass


def test_audio_is_what_the_time_left_follows_from(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 30.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    track_audio([40.0, 20.0], 60.0)
    assert capsys.readouterr().out.splitlines() == [
        "extracting fbank: 40 of 60 s of audio in 20 s (2.0 s of audio per second, 10 s left)",
        "extracting fbank: 60 of 60 s of audio in 30 s (2.0 s of audio per second)",
    ]


def test_a_fast_pace_needs_no_decimals(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    track_audio([1770.0], 1770.0)
    assert "in 10 s (177 s of audio per second)" in capsys.readouterr().out


def test_a_terminal_gets_one_moving_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    track_audio([4.25, 2.0], 6.25)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "extracting fbank: 100%" in captured.err and "6/6" in captured.err


def test_audio_that_stops_early_says_how_far_it_came(capsys):
    def steps():
        yield 4.0
        raise RuntimeError

    with pytest.raises(RuntimeError):
        track_audio(steps(), 6.0)
    assert "4 of 6 s of audio" in capsys.readouterr().out
