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


def test_audio_is_what_the_time_left_follows_from(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 30.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress.track_audio([(1, 40.0), (3, 20.0)], "extracting fbank", clips=4, audio_s=60.0)
    assert capsys.readouterr().out.splitlines() == [
        "extracting fbank: 1 of 4 clips, 40 of 60 s of audio in 20 s "
        "(2 s of audio a second, 10 s left)",
        "extracting fbank: 4 of 4 clips, 60 of 60 s of audio in 30 s (2 s of audio a second)",
    ]


def test_a_terminal_gets_one_moving_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    progress.track_audio([(1, 4.0), (3, 2.0)], "extracting fbank", clips=4, audio_s=6.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "extracting fbank: 100%" in captured.err and "4 of 4 clips" in captured.err


def test_audio_that_stops_early_says_how_far_it_came(capsys):
    def steps():
        yield 1, 4.0
        raise RuntimeError

    with pytest.raises(RuntimeError):
        progress.track_audio(steps(), "extracting fbank", clips=4, audio_s=6.0)
    assert "1 of 4 clips, 4 of 6 s of audio" in capsys.readouterr().out
