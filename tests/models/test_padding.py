"""Zero-padding on the time axis, lengths and masks."""

import numpy as np
import pytest
import torch

from emoshare_utils.models import padding

CLIPS = [np.full((n, 2), n, dtype=np.float16) for n in (3, 5, 1)]


@pytest.mark.parametrize(("maximum", "frames"), [(None, 5), (5, 5), (398, 398)])
def test_frames_stand_at_the_start_and_zeros_behind_them(maximum, frames):
    features, lengths = padding.pad(CLIPS, maximum)
    assert features.shape == (3, frames, 2)
    assert features.dtype == torch.float32
    assert lengths.dtype == torch.int64
    assert lengths.tolist() == [3, 5, 1]
    for clip, row in zip(CLIPS, features):
        np.testing.assert_array_equal(row[: len(clip)], clip)
        assert (row[len(clip) :] == 0).all()


@pytest.mark.parametrize(("multiple", "frames"), [(1, 5), (4, 8), (5, 5)])
def test_a_batch_may_be_padded_to_a_multiple(multiple, frames):
    features, lengths = padding.pad(CLIPS, multiple=multiple)
    assert features.shape == (3, frames, 2)
    assert lengths.tolist() == [3, 5, 1]
    assert padding.pad(CLIPS, 7, multiple)[0].shape == (3, 7, 2)


def test_a_clip_longer_than_the_fixed_maximum_is_an_error():
    with pytest.raises(ValueError, match="5 frames .* maximum of 4: set padding = 'batch'"):
        padding.pad(CLIPS, 4)


def test_the_mask_is_true_where_a_frame_is_real():
    features, lengths = padding.pad(CLIPS, 6)
    mask = padding.mask(lengths, 6)
    assert mask.dtype == torch.bool
    assert mask.shape == (3, 6)
    assert mask.sum(dim=1).tolist() == [3, 5, 1]
    np.testing.assert_array_equal(mask, (features != 0).all(dim=2))
