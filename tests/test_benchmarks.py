"""The benchmark of a GPU at toy size on the CPU, and that of small networks."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from benchmarks import gpu, small_networks
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.device import one_thread
from emoshare_utils.files import read_json
from emoshare_utils.models.regressor import Sizes

CPU = torch.device("cpu")
TOY = replace(gpu.SMOKE, files=4, clips=24, part=12)
PROFILE = Path(__file__).parents[1] / "profiles" / "compare23.yaml"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The whole benchmark at toy size, in both precisions."""
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("EMOSHARE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(gpu, "precisions", lambda device: ["float32", "bfloat16"])
        found = gpu.Bench(TOY, CPU).run()
        assert read_json(gpu.BENCH.folder / "gpu.json") == found
        assert not (gpu.BENCH.folder / "gpu").exists()
    return found


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    return gpu.Bench(TOY, CPU)


def test_every_step_says_how_its_numbers_were_found(report):
    steps = {n: f["status"] for n, f in report.items() if n not in ("machine", "total_s")}
    assert steps == {
        "peak": "measured",
        "exactness": "measured",
        "extraction": "measured",
        "epoch_architecture_1": "measured",
        "epoch_architecture_2": "measured",
        "other_encoders": "extrapolated",
        "compare23": "extrapolated",
    }
    for name in ("extraction", "epoch_architecture_1", "epoch_architecture_2"):
        assert report[name]["all_clips_s"] == report[name]["seconds"] > 0
        assert report[name]["peak_fraction"] > 0
        assert report[name]["precision"] == "bfloat16"
    assert report["extraction"]["clips"] == TOY.clips
    assert report["machine"]["toy_size"] and report["total_s"] < gpu.BUDGET_S


def test_frames_and_predictions_are_those_of_each_clip_alone(report):
    errors = {k: x for k, x in report["exactness"].items() if k.startswith(("frames", "predict"))}
    assert len(errors) == 2 * (2 + 2)  # precisions, encoders and architectures
    for name, error in errors.items():
        assert error < gpu.EXACT if name.endswith("float32") else gpu.EXACT < error < 0.2, name
    assert report["exactness"]["float32_within_1e-4"]


def test_a_wrong_prediction_is_no_longer_exact(bench, monkeypatch):
    build = gpu.build

    def blind_to_ends(*given):
        network = build(*given)
        regress = network.regress
        network.regress = lambda x, lengths: regress(x, torch.full_like(lengths, x.shape[1]))
        return network

    monkeypatch.setattr(gpu, "build", blind_to_ends)
    assert bench._prediction_errors(1)["float32"] > gpu.EXACT


def test_compare23_is_the_sum_of_its_parts(report):
    found = report["compare23"]
    epoch = sum(s for part, s in found["seconds"].items() if part.startswith("epoch"))
    once = sum(found["seconds"].values()) - epoch
    assert len(found["seconds"]) == 1 + 6 + 10  # the check, extractions, systems
    assert found["fewest_epochs_s"] == pytest.approx(once + 11 * epoch)
    assert found["most_epochs_s"] == pytest.approx(once + 150 * epoch)
    assert once + found["epochs_within_goal"] * epoch == pytest.approx(gpu.PAPER_GOAL_S)


def test_it_counts_what_the_profile_asks_for():
    profile = yaml.safe_load(PROFILE.read_text())
    assert list(gpu.PAPER) == profile["encoder"] and profile["architecture"] == [1, 2]
    assert len(profile["svr"]) == 1 and gpu.SVR in profile["svr"][0]
    assert gpu.EPOCHS["most"] == profile["training"]["epochs"]
    assert gpu.EPOCHS["fewest"] == profile["training"]["patience"] + 1
    assert gpu.FULL.batch == profile["training"]["batch_size"]


def test_the_corpus_has_the_challenges_size_and_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    corpus = gpu.Bench(replace(gpu.FULL, files=4), CPU).corpus
    assert corpus.clips["split"].value_counts().to_dict() == gpu.CLIPS
    assert corpus.clips["clip_id"].is_unique and corpus.emotions == PAPER_EMOTIONS
    assert corpus.clips["path"].nunique() == 4


def test_a_step_that_is_stopped_keeps_what_it_found(bench):
    bench.scale = replace(TOY, limits_s={"slow": 0.1, "broken": 1.0})

    def slow(found):
        found |= {"status": "extrapolated", "all_clips_s": 3.0}
        time.sleep(30)

    def broken(found):
        raise RuntimeError("CUDA error")

    bench._take("slow", slow)
    bench._take("broken", broken)
    written = read_json(gpu.BENCH.folder / "gpu.json")
    assert written["slow"]["status"] == "extrapolated" and written["slow"]["all_clips_s"] == 3
    assert "were up" in written["slow"]["why"] and written["slow"]["step_s"] < 5
    assert written["broken"]["status"] == "not measured"
    assert written["broken"]["why"] == "RuntimeError: CUDA error"


def test_no_step_starts_when_all_time_is_spent(bench):
    bench.start -= gpu.BUDGET_S
    bench._take("peak", bench.peak)
    assert bench.report["peak"]["status"] == "not measured"


def test_an_extraction_that_is_stopped_counts_its_finished_shards(bench, monkeypatch):
    def stopped(corpus, encoder, features):
        extract(gpu.sample(corpus, 6), encoder, features)
        raise gpu.TimeUp

    extract = gpu.extract
    monkeypatch.setattr(gpu, "extract", stopped)
    bench.report["peak"] = {bench.precision: 10.0}
    bench._take("extraction", bench.extraction)
    found = bench.report["extraction"]
    assert found["status"] == "extrapolated" and found["clips"] == 6
    assert found["all_clips_s"] > 2 * found["seconds"] and found["peak_fraction"] > 0
    corpus, store = bench.store  # noise instead, of train and devel
    assert store.width == 1024 and set(corpus.clips["split"]) == {"train", "devel"}
    assert store.missing(corpus.clips).empty


def test_what_is_missing_is_not_added_up(bench):
    for name in ("extraction", "epoch_architecture_1", "epoch_architecture_2", "other_encoders"):
        bench.report[name] = {"status": "not measured"}
    found = bench.compare23()
    assert found["status"] == "not measured" and "hubert-large" in found["why"]
    assert "fewest_epochs_s" not in found


@pytest.mark.parametrize(
    "name, goal", [("NVIDIA H200", 60), ("NVIDIA H100 80GB HBM3", 90), ("NVIDIA L4", None)]
)
def test_the_table_has_the_goals(report, name, goal):
    there = report | {"machine": {"gpu": name}, "extraction": {"status": "x", "all_clips_s": 180}}
    table = gpu.summary(there).set_index("").loc["extraction, HuBERT-large, all clips"]
    assert (None if pd.isna(table["goal"]) else table["goal"]) == goal
    if goal:
        assert table["measured/goal"] == 180 / goal


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--smoke" in capsys.readouterr().err


@pytest.mark.parametrize("profile", small_networks.PROFILES)
def test_small_networks_are_those_of_the_profiles(profile):
    given = yaml.safe_load(PROFILE.with_stem(profile).read_text())
    sizes, batch_size = small_networks.PROFILES[profile]
    assert json.dumps(asdict(Sizes.of(given["sizes"]))) == json.dumps(asdict(sizes))
    assert batch_size == given["training"]["batch_size"]


@pytest.mark.parametrize("architecture", [1, 2])
def test_plain_small_networks_predict_the_same_shares(architecture):
    assert small_networks.same_first_step(architecture, "demo", "fbank") < 1e-6
