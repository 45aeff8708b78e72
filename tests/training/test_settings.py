"""Settings of training: what is refused, and how they are stored."""

import pytest

from emoshare_utils.training.settings import Training


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_an_average_that_is_none_is_refused(average):
    with pytest.raises(ValueError, match=f"average = {average}: expected from 0 up to"):
        Training(average=average)


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size", "learning_rate"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0: expected more than 0"):
        Training(**{name: 0})


def test_a_shift_below_zero_is_refused():
    with pytest.raises(ValueError, match="shift = -1: expected 0 or more mel bands"):
        Training(shift=-1)


def test_an_unknown_entry_is_named():
    assert Training.of({"epochs": 3, "loss": "ccc"}) == Training(epochs=3, loss="ccc")
    with pytest.raises(ValueError, match="training has no entry 'epoch': did you mean 'epochs'"):
        Training.of({"epoch": 3})


def test_fields_that_came_later_are_not_stored_at_their_defaults():
    assert not {"loss", "select"} & set(Training().stored())
    stored = Training(loss="ccc", select="mae").stored()
    assert (stored["loss"], stored["select"]) == ("ccc", "mae")
