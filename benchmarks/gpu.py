"""What one GPU makes of the paper's work: one command, eight minutes at most, one JSON.

    python -m benchmarks.gpu            runs/bench/gpu.json and a table
    python -m benchmarks.gpu --smoke    the same code at toy size on the CPU, under a minute

It needs a GPU, this project's dependencies and 20 GB of disk. The goals: all 51,813 clips through
HuBERT-large in 60 s on an H200 and 90 s on an H100; an epoch of nine networks at width 1,024 in
15 s; the whole profile `compare23` in 30 minutes.

The steps go by importance. Each has its own limit of time and is written when it ends, so a stop
costs nothing that was measured. A step's `status` says how its numbers were found: `measured` on
all of the work, `extrapolated` from the part that is named, or `not measured`, and why.
Weights, sound and shares are random: speed does not depend on them.
"""

import argparse
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
import torch

from benchmarks.extraction import (
    BENCH,
    flops_per_audio_second,
    make_corpus,
    matrix_peak,
    peak_memory_gb,
    precisions,
    save_model,
)
from benchmarks.gpu_plan import (
    BUDGET_S,
    CLIPS,
    EPOCHS,
    EXACT,
    FULL,
    LEFT_OUT,
    PAPER,
    PAPER_GOAL_S,
    SMOKE,
    SVR,
    Scale,
    TimeUp,
    summary,
    time_limit,
)
from benchmarks.training import PAPER_CLIPS, make_store, training_flops
from emoshare_utils.corpora.audio import check, read_audio
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS, Corpus
from emoshare_utils.device import choose_device
from emoshare_utils.features.encoder import Encoder, relative_error
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import write_json
from emoshare_utils.models.padding import pad
from emoshare_utils.models.regressor import build
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import train_system


class Bench:
    """The steps, each a method that fills in the record that it is given."""

    def __init__(self, scale: Scale, device: torch.device) -> None:
        self.scale, self.device, self.start = scale, device, time.perf_counter()
        self.precision = precisions(device)[-1]
        self.folder = BENCH.folder / "gpu"
        self.smoke = device.type == "cpu"
        self.report: dict = {"machine": self._machine()}
        self.encoder = cache(self._encoder)

    def run(self) -> dict:
        """Take all steps, write the report after each; returns it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        steps = {
            "peak": self.peak,
            "exactness": self.exactness,
            "extraction": self.extraction,
            "epoch_architecture_1": lambda found: self.epoch(1, found),
            "epoch_architecture_2": lambda found: self.epoch(2, found),
            "other_encoders": self.other_encoders,
        }
        for name in [*steps, "compare23"]:
            self.report[name] = {"status": "not measured", "why": "not reached"}
        for name, step in steps.items():
            self._take(name, step)
        self.report["compare23"] = self.compare23()
        self._write()
        for folder in (self.folder, BENCH.folder / "models"):
            shutil.rmtree(folder, ignore_errors=True)
        return self.report

    def _take(self, name: str, step: Callable[[dict], None]) -> None:
        left_s = BUDGET_S - (time.perf_counter() - self.start)
        limit_s = min(self.scale.limits_s[name], left_s)
        found = self.report[name] = {"status": "not measured", "limit_s": round(limit_s, 1)}
        start = time.perf_counter()
        print(f"\n{name}: {limit_s:.0f} s at most", flush=True)
        try:
            with time_limit(limit_s):
                step(found)
        except TimeUp:
            found["why"] = f"its {limit_s:.0f} s were up"
        except Exception as error:
            traceback.print_exc()
            found["why"] = f"{type(error).__name__}: {error}"
        found["step_s"] = time.perf_counter() - start
        found["memory_gb"] = peak_memory_gb()
        if self.device.type == "cuda":
            found["gpu_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        self._write()

    def _write(self) -> None:
        self.report["total_s"] = time.perf_counter() - self.start
        BENCH.folder.mkdir(parents=True, exist_ok=True)
        write_json(BENCH.folder / "gpu.json", self.report)

    def _machine(self) -> dict:
        gpu = None if self.smoke else torch.cuda.get_device_name(self.device)
        return {
            "device": str(self.device),
            "gpu": gpu,
            "processor": torch.cpu.get_capabilities().get("cpu_name", ""),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "toy_size": self.smoke,
        }

    # What several steps use

    def _encoder(self, name: str, precision: str, device: str | None = None) -> Encoder:
        """One of the scale's encoders with random weights, or fbank."""
        if name in self.scale.encoders:
            folder = f"gpu-{'toy-' if self.smoke else ''}{name}"
            name = str(save_model(folder, self.scale.encoders[name]))
        return load_encoder(name, device or str(self.device), precision=precision)

    @cached_property
    def files(self) -> Corpus:
        """The sound files, a clip each, and how long it took to check them."""
        return make_corpus(self.scale.files)

    @cached_property
    def corpus(self) -> Corpus:
        """As many clips as the challenge's, in its splits, over the sound files again and again."""
        n = self.scale.clips
        rows = np.arange(n)
        clips = self.files.clips.drop(columns="Share").iloc[rows % self.scale.files]
        ends = np.cumsum(list(CLIPS.values())) / sum(CLIPS.values())
        clips = clips.assign(clip_id=[f"{row:06d}" for row in rows])
        clips["split"] = np.array(list(CLIPS))[np.searchsorted(ends, (rows + 0.5) / n)]
        shares = np.random.default_rng(0).random((n, len(PAPER_EMOTIONS)))
        clips[list(PAPER_EMOTIONS)] = shares
        return Corpus("bench", self.files.root, PAPER_EMOTIONS, clips.reset_index(drop=True))

    @cached_property
    def part(self) -> Corpus:
        """Some of the corpus, spread over its splits."""
        return sample(self.corpus, self.scale.part)

    @cached_property
    def store(self) -> tuple[Corpus, FeatureStore]:
        """The frames of the extraction if it is whole, else noise of the same width and lengths."""
        if self.report["extraction"]["status"] == "measured":
            return self.corpus, self.place("large", self.precision)
        shutil.rmtree(self.folder / "features", ignore_errors=True)  # the disk may be small
        shown = sum(PAPER_CLIPS.values()) / sum(CLIPS.values())  # of train and devel
        return make_store(round(self.scale.clips * shown), "gpu/noise")

    def place(self, name: str, precision: str) -> FeatureStore:
        """The store that `extract` fills."""
        encoder = self.encoder(name, precision)
        about = encoder.name, encoder.width, encoder.settings
        return FeatureStore.create(self.folder / "features", *about)

    def train(self, corpus: Corpus, store: FeatureStore, architecture: int) -> float:
        """Seconds of one epoch: training, judging on devel, checkpoint, final predictions."""
        models = self.folder / "models"
        shutil.rmtree(models, ignore_errors=True)
        training = Training(
            epochs=1, precision=self.precision, standardise=False, batch_size=self.scale.batch
        )
        start = time.perf_counter()
        device = str(self.device)
        train_system(corpus, store, architecture, 0, models, self.scale.sizes, training, device)
        seconds = time.perf_counter() - start
        shutil.rmtree(models)
        return seconds

    def extract(self, found: dict, corpus: Corpus, name: str, precision: str) -> None:
        """Time the extraction of a corpus; where it is stopped, the shards it finished count."""
        encoder = self.encoder(name, precision)
        start = time.perf_counter()
        try:
            extract(corpus, encoder, self.folder / "features")
        finally:
            seconds = time.perf_counter() - start
            store = self.place(name, precision)
            done = corpus.clips[corpus.clips["clip_id"].isin(store.index.index)]
            if len(done):
                audio_s = done["duration_s"].sum()
                all_s = self.corpus.clips["duration_s"].sum()
                found |= {
                    "status": "measured" if len(done) == self.scale.clips else "extrapolated",
                    "precision": precision,
                    "clips": len(done),
                    "seconds": seconds,
                    "audio_seconds_per_second": audio_s / seconds,
                    "all_clips_s": seconds * (all_s / audio_s),
                }

    # The steps

    def peak(self, found: dict) -> None:
        """The fastest matrix product, by precision."""
        for precision in precisions(self.device):
            found[precision] = matrix_peak(precision, self.device, self.scale.matrices) / 1e9
        found["status"] = "measured"

    def exactness(self, found: dict) -> None:
        """Frames and predictions in batches here, against each clip alone on the CPU in float32."""
        places = np.linspace(0, len(self.files.clips) - 1, 4).astype(int)
        clips = self.files.clips.sort_values("duration_s").iloc[places]
        samples = [read_audio(self.files.path(path)) for path in clips["path"]]
        for name in self.scale.encoders:
            alone = self._encoder(name, "float32", "cpu")
            exact = [alone.frames(clip) for clip in samples]
            for precision in precisions(self.device):
                frames = self.encoder(name, precision).encode(samples)
                found[f"frames_{name}_{precision}"] = relative_error(frames, exact)
        for architecture in (1, 2):
            for precision, error in self._prediction_errors(architecture).items():
                found[f"predictions_architecture_{architecture}_{precision}"] = error
        in_float32 = [error for key, error in found.items() if key.endswith("_float32")]
        found["float32_within_1e-4"] = max(in_float32) <= EXACT
        found["status"] = "measured"

    @torch.no_grad()
    def _prediction_errors(self, architecture: int) -> dict[str, float]:
        """By precision, the root mean square error over the standard deviation between clips.

        Networks with random weights say nearly the same of every clip, and no error would show:
        so weights are tripled, and the noise of one clip is louder than that of another.
        """
        torch.manual_seed(architecture)
        width = self.scale.encoders["large"].hidden_size
        network = build(architecture, width, self.scale.sizes).eval()
        for parameter in network.parameters():
            parameter.mul_(3)
        frames = [(0.3 + 0.6 * i) * torch.randn(50 + 90 * i, width).numpy() for i in range(4)]
        exact, errors = torch.cat([network(*pad([clip])) for clip in frames]).double(), {}
        features, lengths = pad(frames)
        features, network = network.standardise(features, lengths), network.to(self.device)
        for precision in precisions(self.device):
            given = features.to(self.device, getattr(torch, precision))
            shares = network.regress(given, lengths.to(self.device)).double().cpu()
            error = (shares - exact).square().mean().sqrt() / exact.std(correction=0)
            errors[precision] = float(error)
        return errors

    def extraction(self, found: dict) -> None:
        """HuBERT-large over all clips, from the files to a finished store."""
        found["audio_hours"] = self.corpus.clips["duration_s"].sum() / 3600
        found["reads"] = (
            f"{self.scale.clips} times one of {self.scale.files} WAV files: read, compared with "
            "its checksum and decoded each time, from the page cache, as after notebook 01"
        )
        config = self.scale.encoders["large"]
        work = flops_per_audio_second(config, self.corpus.clips["duration_s"])
        try:
            self.extract(found, self.corpus, "large", self.precision)
        finally:
            if "seconds" in found:
                flops = found["audio_seconds_per_second"] * work
                found["peak_fraction"] = self.of_peak(flops, self.precision)

    def epoch(self, architecture: int, found: dict) -> None:
        """An epoch of nine networks on the paper's store: a part of it, then all, if time is left.

        The fraction of the peak counts what training computes, not the predictions.
        """
        corpus, store = self.store
        train = corpus.split("train")["clip_id"]
        flops = training_flops(store.lengths(train), store.width, self.scale.sizes)
        part = sample(corpus, self.scale.part)
        self.train(sample(corpus, self.scale.part // 4), store, architecture)  # warms up
        seconds = self.train(part, store, architecture)
        estimate_s = seconds * len(corpus.clips) / len(part.clips)
        found |= {"status": "extrapolated", "precision": self.precision, "width": store.width}
        found |= {"train_clips": len(part.split("train")), "seconds": seconds}
        found["all_clips_s"] = estimate_s
        found["peak_fraction"] = self.of_peak(flops / estimate_s, self.precision)
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        if estimate_s > 0.9 * left_s:
            found["why"] = f"all clips would take {estimate_s:.0f} s, and {left_s:.0f} s were left"
            return
        seconds = self.train(corpus, store, architecture)
        found |= {"status": "measured", "train_clips": len(train), "seconds": seconds}
        found["all_clips_s"] = seconds
        found["peak_fraction"] = self.of_peak(flops / seconds, self.precision)

    def other_encoders(self, found: dict) -> None:
        """What else `compare23` needs, each on a part of the clips; and float32."""
        start = time.perf_counter()
        check(self.files)
        seconds = time.perf_counter() - start
        found["audio_check"] = {"status": "extrapolated", "clips": self.scale.files}
        found["audio_check"]["all_clips_s"] = seconds * self.scale.clips / self.scale.files
        for name in ("base", "fbank"):
            self.extract(found.setdefault(name, {}), self.part, name, self.precision)
            store = self.place(name, self.precision)
            for architecture in (1, 2):
                seconds = self.train(self.part, store, architecture)
                found[f"{name}_epoch_architecture_{architecture}"] = {
                    "status": "extrapolated",
                    "clips": len(self.part.clips),
                    "all_clips_s": seconds * self.scale.clips / len(self.part.clips),
                }
        few = sample(self.corpus, self.scale.part // 4)
        of_float32 = found.setdefault("large_float32", {})
        if self.precision != "float32":
            self.extract(of_float32, few, "large", "float32")
            config = self.scale.encoders["large"]
            work = flops_per_audio_second(config, few.clips["duration_s"])
            flops = of_float32["audio_seconds_per_second"] * work
            of_float32["peak_fraction"] = self.of_peak(flops, "float32")
        found["status"] = "extrapolated"

    def compare23(self) -> dict:
        """The whole profile, added up from what the steps found."""
        other, parts = self.report["other_encoders"], {}
        extraction = {"large": self.report["extraction"]} | other
        parts["notebook 01, audio check"] = other.get("audio_check", {})
        for name in [*PAPER, SVR]:
            parts[f"extraction, {name}"] = extraction.get(PAPER.get(name, "large"), {})
        epochs = {}
        for name, cost in PAPER.items():
            for architecture in (1, 2):
                key = f"epoch_architecture_{architecture}"
                of_one = self.report[key] if cost == "large" else other.get(f"{cost}_{key}", {})
                epochs[f"epoch, {name}, Architecture {architecture}"] = of_one
        rows = {key: of.get("all_clips_s") for key, of in {**parts, **epochs}.items()}
        missing = [key for key, seconds in rows.items() if seconds is None]
        found = {"seconds": rows, "left_out": LEFT_OUT}
        if missing:
            return found | {"status": "not measured", "why": f"missing: {', '.join(missing)}"}
        once = sum(rows[key] for key in parts)
        one_epoch = sum(rows[key] for key in epochs)
        found |= {f"{which}_epochs_s": once + n * one_epoch for which, n in EPOCHS.items()}
        found["epochs_within_goal"] = (PAPER_GOAL_S - once) / one_epoch
        return found | {"status": "extrapolated"}

    def of_peak(self, flops: float, precision: str) -> float | None:
        """Operations per second, relative to the fastest matrix product measured here."""
        peak = self.report["peak"].get(precision)
        return flops / (peak * 1e9) if peak else None


def sample(corpus: Corpus, n_clips: int) -> Corpus:
    """A corpus with so many of the clips, evenly spread over its table."""
    rows = np.linspace(0, len(corpus.clips) - 1, min(n_clips, len(corpus.clips))).astype(int)
    return corpus.with_clips(corpus.clips.iloc[rows].reset_index(drop=True))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="at toy size on the CPU")
    args = parser.parse_args(arguments)
    if not args.smoke and not torch.cuda.is_available():
        parser.error(
            f"torch {torch.__version__} sees no GPU here, and this measures one: check the driver "
            "with nvidia-smi; --smoke runs the same code at toy size on the CPU"
        )
    device = choose_device("cpu" if args.smoke else "cuda")
    report = Bench(SMOKE if args.smoke else FULL, device).run()
    print(f"\n{report['machine']}\n{summary(report).round(3).to_string(index=False)}\n")
    print("errors against each clip alone on the CPU in float32:")
    for key, error in report["exactness"].items():
        if key.startswith(("frames", "predictions")):
            print(f"  {key:40} {error:.1e}")
    print(f"\n{BENCH.folder / 'gpu.json'}")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
