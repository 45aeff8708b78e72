"""Text to speech with eSpeak NG: the same bytes for the same utterance, whatever was said before.

The library carries state from one utterance to the next, so each one is spoken in a child forked
from a process that has initialised the library and spoken nothing. That process is this file run
as a script: it has one thread and imports neither torch nor numpy, so that forking it is safe.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import espeakng_loader

SAMPLE_RATE_HZ = 22_050  # of every eSpeak NG voice

LIMITS = {
    "rate_wpm": (80, 450),
    "pitch": (0, 99),
    "pitch_range": (0, 99),
    "word_gap_10ms": (0, 100),
}
# The library's own numbers for these (espeak_PARAMETER in speak_lib.h).
_PARAMETERS = {"rate_wpm": 1, "pitch": 3, "pitch_range": 4, "word_gap_10ms": 7}
_SYNCHRONOUS = 2  # samples to a callback, none to a sound card, no thread of its own
_DONT_EXIT = 0x8000  # an error code where the library would end the process
_UTF8 = 1
_DATA = "espeak-ng-data"  # the folder of voices, beside the library
_CHILD_LIMIT_S = 30  # a healthy utterance takes about 10 ms


class SpeechError(RuntimeError):
    """eSpeak NG could not say something; the message names the voice and the text."""


@dataclass(frozen=True)
class Utterance:
    """What to say and how.

    `voice` is an eSpeak NG language with an optional variant, such as "de" or "de+f2". `rate_wpm`
    is in words per minute; `pitch` and `pitch_range` run from 0 to 99 with 50 as the voice's own;
    `word_gap_10ms` is the extra pause between words in steps of 10 ms at the default rate.
    ValueError for a number outside `LIMITS` or an empty text.
    """

    text: str
    voice: str
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap_10ms: int = 0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError(f"an utterance needs a text, not {self.text!r}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, but eSpeak NG takes {low} to {high}")


class Espeak:
    """A helper process that speaks; use it as a context manager.

    SpeechError if the helper cannot start or an utterance fails; the next utterance still works.
    """

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise SpeechError("the simulated corpus needs Linux or macOS: Windows has no fork()")
        self._helper = subprocess.Popen(
            # -P keeps this folder's own modules from hiding the library's
            [sys.executable, "-P", "-W", "ignore::DeprecationWarning", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def speak(self, utterance: Utterance) -> bytes:
        """The samples as bytes: int16, mono, native byte order, `SAMPLE_RATE_HZ`."""
        about = f"voice {utterance.voice!r} and text {utterance.text!r}"
        try:
            self._helper.stdin.write(json.dumps(asdict(utterance)).encode() + b"\n")
            self._helper.stdin.flush()
            answer = json.loads(self._helper.stdout.readline())
            samples = self._helper.stdout.read(answer["bytes"])
        except (BrokenPipeError, json.JSONDecodeError) as error:
            self.close()
            raise SpeechError(
                f"the eSpeak NG helper ended (exit code {self._helper.returncode}) before {about}: "
                "is espeakng-loader the one for this Python and system?"
            ) from error
        if answer["error"]:
            raise SpeechError(f"eSpeak NG failed with {about}: {answer['error']}")
        return samples

    def close(self) -> None:
        """End the helper; closing twice is harmless."""
        with contextlib.suppress(BrokenPipeError):
            self._helper.stdin.close()
        self._helper.stdout.close()
        self._helper.wait()

    def __enter__(self) -> "Espeak":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load() -> ctypes.CDLL:
    data = Path(espeakng_loader.get_data_path())
    os.chdir(data.parent)  # the library cuts long paths, so it gets a relative one
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    unsigned, pointer = ctypes.c_uint, ctypes.c_void_p
    text = [ctypes.c_char_p, ctypes.c_size_t]
    library.espeak_Synth.argtypes = [*text, unsigned, ctypes.c_int, *2 * [unsigned], *2 * [pointer]]
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, _DATA.encode(), _DONT_EXIT)
    if rate != SAMPLE_RATE_HZ:
        raise SystemExit(f"espeak_Initialize gave {rate} with {data}, not {SAMPLE_RATE_HZ}")
    library.espeak_ng_SetRandSeed(1)  # for breath; the library has seeded it with the time
    return library


def _say(library: ctypes.CDLL, request: dict) -> bytes:
    chunks = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples and count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    _, plus, variant = request["voice"].partition("+")
    if plus and not Path(_DATA, "voices", "!v", variant).is_file():  # the library would ignore it
        raise ValueError(f"there is no variant {variant!r}")
    if library.espeak_SetVoiceByName(request["voice"].encode()):
        raise ValueError("there is no such voice")
    for name, number in _PARAMETERS.items():
        if library.espeak_SetParameter(number, request[name], 0):
            raise ValueError(f"{name} = {request[name]} was refused")
    library.espeak_SetSynthCallback(collect)
    text = request["text"].encode() + b"\0"
    if library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None):
        raise ValueError("the text was refused")
    library.espeak_Synchronize()
    if not chunks:
        raise ValueError("no sound came back")
    return b"".join(chunks)


def _speak_in_child(library: ctypes.CDLL, request: dict) -> tuple[bytes, str]:
    """The samples and an empty error, or no samples and the error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(_CHILD_LIMIT_S)
            os.close(reader)
            with os.fdopen(writer, "wb") as pipe:
                try:
                    pipe.write(_say(library, request))
                    code = 0
                except Exception as error:
                    pipe.write(str(error).encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return answer, ""
    if status < 0:
        return b"", f"the child was ended by {signal.Signals(-status).name}"
    return b"", answer.decode(errors="replace") or "the child ended without a reason"


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    library = _load()
    for line in requests:
        samples, error = _speak_in_child(library, json.loads(line))
        answers.write(json.dumps({"bytes": len(samples), "error": error}).encode() + b"\n")
        answers.write(samples)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the other side may stop listening
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the notebook's Ctrl-C ends it by closing stdin
    _serve(sys.stdin.buffer, sys.stdout.buffer)
