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


@pytest.mark.parametrize(("given", "expected"), [("batch", None), ("paper", 398), (40, 40)])
def test_the_fixed_maximum_is_none_the_papers_or_a_number(given, expected):
    assert padding.max_frames(given, 398) == expected


@pytest.mark.parametrize("wrong", ["longest", 0, -1, None])
def test_another_padding_is_refused(wrong):
    with pytest.raises(ValueError, match="padding = .*expected 'batch', 'paper' or a number"):
        padding.max_frames(wrong, 398)


def test_lengths_of_batches_are_few_and_hardly_longer():
    longest = range(1, 2000)
    rounded = [padding.round_length(length) for length in longest]
    assert all(0 <= more - length <= length / 16 for more, length in zip(rounded, longest))
    for power in (64, 256, 1024):
        between = {more for more in rounded if power <= more < 2 * power}
        assert len(between) == padding.LENGTHS_PER_DOUBLING
