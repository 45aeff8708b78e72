"""An architecture that stands outside the package trains as its own do."""

import pytest
import torch
from tiny import train

from emoshare_utils.models.padding import pad
from emoshare_utils.models.regressor import REGRESSORS, Regressor, register
from emoshare_utils.names import ARCHITECTURES, Look
from emoshare_utils.results.metrics import spearman
from emoshare_utils.training.systems import load_network


class Largest(Regressor):
    """The largest of a clip's own states, and a layer of its own."""

    def add_layers(self, sizes):
        self.mix = torch.nn.Linear(sizes.lstm, sizes.lstm)

    def ffnn_sizes(self, sizes):
        return sizes.ffnn_1

    def pool(self, states, final, lengths):
        real = torch.arange(states.shape[1]) < lengths[:, None]
        return self.mix(states).masked_fill(~real[..., None], -torch.inf).amax(dim=1)


@pytest.mark.parametrize("max_frames", [None, 40])
def test_an_architecture_registered_outside_trains_and_is_exact(
    heard, tmp_path, monkeypatch, max_frames
):
    for registry in (REGRESSORS, ARCHITECTURES):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    register(7, Largest, Look("Largest state", "A7", "#009E73"))
    corpus, store = made = heard(tmp_path / "features", train=36, devel=14, test=10)
    system = train(made, tmp_path / "models", 7, epochs=25, max_frames=max_frames)
    devel = system.predictions.query("split == 'devel' and emotion == 'Anger'")
    assert set(system.predictions["architecture"]) == {7}
    assert spearman(devel["share"], devel["prediction"]) > 0.7
    network = load_network(system.folder, "Anger", 5)
    frames = [store.frames(clip) for clip in devel["clip_id"]]
    with torch.no_grad():
        alone = torch.cat([network(*pad([clip])) for clip in frames])
        for padded_to in (None, 398):
            torch.testing.assert_close(network(*pad(frames, padded_to)), alone, atol=1e-5, rtol=0)
    assert alone.numpy() == pytest.approx(devel["prediction"].to_numpy(), abs=1e-5)
