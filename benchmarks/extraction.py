"""How fast frames are extracted, against the released recipe and the loop most people write.

    python -m benchmarks.extraction              the whole table: `make bench`
    python -m benchmarks.extraction --clips 51813 --size large --precision bfloat16
                                                 one extraction by itself, of so many clips

All contenders run in one process on the same clips, taking turns; a figure is the median of its
turns. Weights are random: speed does not depend on them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoFeatureExtractor, AutoModel

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import COLUMNS, Corpus
from emoshare_utils.device import choose_device, multiplies_bfloat16
from emoshare_utils.features.encoder import Encoder, relative_error
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.models.kernels import has_onednn
from emoshare_utils.paths import Run
from emoshare_utils.results.figures.style import save

BENCH = Run("bench")
ROUNDS = 5
SIZES = {  # HuBERT-base and -large, and how many clips each is timed on
    "base": (transformers.HubertConfig(), 40),
    "large": (
        transformers.HubertConfig(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            feat_extract_norm="layer",
            conv_bias=True,
            do_stable_layer_norm=True,
        ),
        16,
    ),
}
SCALING = (500, 5000)  # clips
PAPER_FRAMES = 398
PLAIN_BATCH = 8
MATRICES = ((2048, 1024, 1024), (4096, 768, 768), (4096, 1024, 4096), (4096, 4096, 4096))
RELEASED = "released recipe, as released (two clips)"


def durations(n_clips: int) -> np.ndarray:
    """Seconds, like the challenge's clips: 1 to 8, mean 2.9."""
    return 1 + 7 * np.random.default_rng(0).beta(1.6, 4.3, n_clips)


def make_corpus(n_clips: int) -> Corpus:
    """So many clips of noise with the challenge's lengths, kept in runs/bench/audio."""
    folder = BENCH.folder / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    clips = pd.DataFrame({"clip_id": [f"{i:06d}" for i in range(n_clips)]})
    clips["path"] = clips["clip_id"] + ".wav"
    clips["duration_s"] = durations(n_clips)
    clips = clips.assign(split="train", speaker="", language="", n_raters=1, Share=0.5)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 9 * audio.SAMPLE_RATE)
    for i, (path, duration_s) in enumerate(zip(clips["path"], clips["duration_s"])):
        if not (folder / path).is_file():
            samples = np.roll(noise, 977 * i)[: round(duration_s * audio.SAMPLE_RATE)]
            soundfile.write(folder / path, samples, audio.SAMPLE_RATE)
    corpus, rejected = audio.check(Corpus("bench", folder, ("Share",), clips[[*COLUMNS, "Share"]]))
    assert rejected.empty, f"delete {folder} and start again: {rejected.to_string()}"
    return corpus


def save_model(name: str, config: transformers.HubertConfig) -> Path:
    """A randomly initialised HuBERT on disk, loaded as the published ones are."""
    folder = BENCH.folder / "models" / name
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
        normalise = config.feat_extract_norm == "layer"  # as HuBERT-large was fed
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder


class Contenders:
    """The ways to turn the clips of one corpus into frames, each a function without arguments."""

    def __init__(self, size: str, corpus: Corpus, device: torch.device) -> None:
        self.folder = save_model(size, SIZES[size][0])
        self.corpus, self.device = corpus, device
        self.paths = [corpus.path(path) for path in corpus.clips["path"]]
        self.model = AutoModel.from_pretrained(self.folder).to(device).eval()
        self.extractor = AutoFeatureExtractor.from_pretrained(self.folder)
        self.ours = {
            precision: load_encoder(str(self.folder), str(device), precision=precision)
            for precision in precisions(device)
        }

    def recipe(self) -> np.ndarray:
        """The released recipe, loaded once: clip by clip, float32, into a padded float64 array."""
        padded = np.zeros((len(self.paths), PAPER_FRAMES, self.model.config.hidden_size))
        for row, path in zip(padded, self.paths):
            frames = self._frames(self._normalised(audio.read_audio(path)))
            row[: len(frames)] = frames
        return padded

    def as_released(self) -> None:
        """The released recipe as it is, gradients on and loaded for every clip: its first two."""
        for path in self.paths[:2]:
            model = AutoModel.from_pretrained(self.folder).to(self.device).eval()
            samples = torch.from_numpy(self._normalised(audio.read_audio(path)))
            model(samples[None].to(self.device)).last_hidden_state.detach().cpu().numpy()

    def plain(self, batch: int) -> list[np.ndarray]:
        """The Hugging Face loop that most people write: padded batches under a mask."""
        out = []
        for start in range(0, len(self.paths), batch):
            clips = [audio.read_audio(path) for path in self.paths[start : start + batch]]
            inputs = self.extractor(
                clips,
                sampling_rate=audio.SAMPLE_RATE,
                padding=True,
                return_attention_mask=batch > 1,
                return_tensors="pt",
            ).to(self.device)
            with torch.inference_mode():
                out += list(self.model(**inputs).last_hidden_state.cpu().numpy())
        return out

    def extraction(self, precision: str) -> None:
        """Ours: from files to a finished store."""
        features = BENCH.folder / "features"
        shutil.rmtree(features, ignore_errors=True)
        extract(self.corpus, self.ours[precision], features)

    def exact(self) -> list[np.ndarray]:
        """Clip by clip, by the model's own code."""
        return [self._frames(self._normalised(audio.read_audio(path))) for path in self.paths]

    def _normalised(self, samples: np.ndarray) -> np.ndarray:
        return self.extractor(samples, sampling_rate=audio.SAMPLE_RATE)["input_values"][0]

    @torch.inference_mode()
    def _frames(self, samples: np.ndarray) -> np.ndarray:
        samples = torch.from_numpy(samples)[None].to(self.device)
        return self.model(samples).last_hidden_state[0].cpu().numpy()


def precisions(device: torch.device) -> list[str]:
    """What is timed: bfloat16 where the device multiplies it."""
    return ["float32", "bfloat16"] if multiplies_bfloat16(device) else ["float32"]


def measure(size: str, device: torch.device) -> tuple[dict, pd.DataFrame]:
    """The figures of one size, and the table of all contenders."""
    config, n_clips = SIZES[size]
    contenders = Contenders(size, make_corpus(n_clips), device)
    audio_s = contenders.corpus.clips["duration_s"].sum()
    runs: dict[str, Callable] = {
        "released recipe, loaded once": contenders.recipe,
        "plain loop, one clip": lambda: contenders.plain(1),
        f"plain loop, batches of {PLAIN_BATCH}": lambda: contenders.plain(PLAIN_BATCH),
        RELEASED: contenders.as_released,
    }
    ours = {precision: f"ours, {precision}" for precision in precisions(device)}
    runs |= {
        label: (lambda precision=precision: contenders.extraction(precision))
        for precision, label in ours.items()
    }
    seconds = {label: [] for label in runs}
    peaks = {precision: [] for precision in ours}
    for turn in range(ROUNDS + 1):
        for label, run in runs.items():
            torch.backends.cudnn.allow_tf32 = not label.startswith("ours")  # torch's default
            taken = timed(run)
            if turn:  # the first one warms up
                seconds[label].append(taken)
        for precision in ours if turn else ():
            peaks[precision].append(matrix_peak(precision, device))
    rates = {label: audio_s / np.median(taken) for label, taken in seconds.items()}
    two_s = contenders.corpus.clips["duration_s"][:2].sum()
    rates[RELEASED] = two_s / np.median(seconds[RELEASED])

    work = flops_per_audio_second(config, contenders.corpus.clips["duration_s"])
    peak = {precision: float(np.median(found)) for precision, found in peaks.items()}
    fraction = {ours[p]: rates[ours[p]] * work / peak[p] for p in ours}
    memory = {ours[p]: alone(size, p, n_clips)["peak_memory_gb"] for p in ours}
    table = pd.DataFrame({"audio-s/s": rates})
    table["ratio"] = table["audio-s/s"] / rates["released recipe, loaded once"]
    table["of peak"] = pd.Series(fraction)
    table["memory GB"] = pd.Series(memory)
    table["relative error"] = pd.Series(errors(contenders, ours))
    best = ours["bfloat16" if "bfloat16" in ours else "float32"]
    plain = max(rates[label] for label in rates if label.startswith("plain"))
    return {
        "ratio_fair": float(table["ratio"][best]),
        "ratio_plain": float(rates[best] / plain),
        "ratio_float32": float(table["ratio"][ours["float32"]]),
        "ratio_as_released": float(rates[best] / rates[RELEASED]),
        "peak_fraction": float(fraction[best]),
        "audio_seconds_per_second": float(rates[best]),
        "peak_memory_gb": memory[best],
        "precision": best.removeprefix("ours, "),
        "peak_gflops": {p: found / 1e9 for p, found in peak.items()},
        "gflop_per_audio_second": work / 1e9,
        "seconds": seconds,
        "table": table.reset_index(names="way").to_dict("records"),
    }, table


def errors(contenders: Contenders, ours: dict[str, str]) -> dict[str, float]:
    """Relative error of each way to batch, against clip by clip."""
    exact = contenders.exact()
    samples = [audio.read_audio(path) for path in contenders.paths]
    found = {label: contenders.ours[precision].encode(samples) for precision, label in ours.items()}
    batched = contenders.plain(PLAIN_BATCH)
    found[f"plain loop, batches of {PLAIN_BATCH}"] = [
        frames[: len(true)] for frames, true in zip(batched, exact)
    ]
    return {label: relative_error(frames, exact) for label, frames in found.items()}


def timed(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.inference_mode()
def matrix_peak(
    precision: str, device: torch.device, matrices: Sequence[tuple[int, int, int]] = MATRICES
) -> float:
    """The most floating-point operations per second that a matrix product reaches here."""
    dtype, best = getattr(torch, precision), 0.0
    for m, k, n in matrices:
        a, b = torch.randn(m, k).to(device, dtype), torch.randn(n, k).to(device, dtype)
        products = [lambda a=a, b=b: torch.nn.functional.linear(a, b)]
        if has_onednn(device, dtype):
            packed = torch.ops.mkldnn._reorder_linear_weight(b, m)
            products.append(
                lambda a=a, w=packed: torch.ops.mkldnn._linear_pointwise(
                    a, w, None, "none", [], "none"
                )
            )
        for product in products:
            seconds = min(timed(lambda p=product: finished(p, device)) for _ in range(6))
            best = max(best, 2 * m * k * n / seconds)
    return best


def finished(work: Callable, device: torch.device) -> None:
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()


def flops_per_audio_second(config: transformers.HubertConfig, seconds: pd.Series) -> float:
    """What the model's own code multiplies and adds for clips of these lengths."""
    with torch.device("meta"):
        model = AutoModel.from_config(config).eval()
        total = 0
        seconds = seconds[:16]
        for duration_s in seconds:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.empty(1, round(duration_s * audio.SAMPLE_RATE)))
            total += counter.get_total_flops()
    return total / seconds.sum()


def alone(size: str, precision: str, n_clips: int) -> dict:
    """Extraction in a process of its own: seconds, and the most memory that it held."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--size", size]
    command += ["--precision", precision, "--clips", str(n_clips)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path.cwd())
    return json.loads(out.stdout.splitlines()[-1])


def extract_alone(size: str, precision: str, n_clips: int) -> dict:
    corpus, encoder = make_corpus(n_clips), encoder_of(size, precision)
    before_gb = peak_memory_gb()
    features = BENCH.folder / "features-alone"
    shutil.rmtree(features, ignore_errors=True)
    seconds = timed(lambda: extract(corpus, encoder, features))
    shutil.rmtree(features)
    audio_s = float(corpus.clips["duration_s"].sum())
    return {
        "size": size,
        "precision": precision,
        "clips": n_clips,
        "seconds": seconds,
        "audio_seconds_per_second": audio_s / seconds,
        "peak_memory_gb": peak_memory_gb(),
        "before_gb": before_gb,
    }


def encoder_of(size: str, precision: str) -> Encoder:
    name = str(save_model(size, SIZES[size][0])) if size in SIZES else size
    return load_encoder(name, precision=precision)


def peak_memory_gb() -> float:
    """The most resident memory of this process so far (not its parent's, as getrusage counts)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024 / 1e9


def scaling(size: str, precision: str) -> pd.DataFrame:
    """Seconds per clip and peak memory by number of clips, each in a process of its own."""
    rows = pd.DataFrame([alone(size, precision, n) for n in SCALING])
    return rows.assign(size=size, seconds_per_clip=rows["seconds"] / rows["clips"])


def draw(rows: pd.DataFrame) -> plt.Figure:
    """Cost grows in a straight line: both curves should be flat."""
    figure, axes = plt.subplots(1, 2, figsize=(5, 2), constrained_layout=True)
    labels = {"seconds_per_clip": "ms per clip", "peak_memory_gb": "peak memory (GB)"}
    for axis, (column, label) in zip(axes, labels.items()):
        values = rows[column] * (1000 if column == "seconds_per_clip" else 1)
        axis.plot(rows["clips"], values, "o-", color="black")
        axis.set(xlabel="clips", ylabel=label, ylim=(0, 1.3 * values.max()), xscale="log")
        axis.set_xticks(rows["clips"], [f"{n:,}" for n in rows["clips"]])
        axis.minorticks_off()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="base", help="base, large or an encoder's name")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--clips", type=int, help="one extraction by itself, of so many clips")
    parser.add_argument("--scaling", default="base", help="what the line is drawn with")
    args = parser.parse_args()
    if args.clips:
        print(json.dumps(extract_alone(args.size, args.precision, args.clips)))
        return
    device = choose_device("auto")
    report = {"device": str(device), "threads": torch.get_num_threads(), "rounds": ROUNDS}
    report["processor"] = torch.cpu.get_capabilities().get("cpu_name", "")
    for size in SIZES:
        report[size], table = measure(size, device)
        print(f"\nHuBERT-{size}, {device}, medians of {ROUNDS}\n{table.round(7).to_string()}\n")
    rows = scaling(args.scaling, precisions(device)[-1])
    report["scaling"] = rows.to_dict("records")
    print(rows.round(4).to_string())
    BENCH.folder.mkdir(parents=True, exist_ok=True)
    (BENCH.folder / "extraction.json").write_text(json.dumps(report, indent=2) + "\n")
    save(draw(rows), BENCH.figures, "extraction", rows, listeners="")
    for folder in ("features", "models"):
        shutil.rmtree(BENCH.folder / folder, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
