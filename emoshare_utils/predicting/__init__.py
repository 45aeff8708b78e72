"""From a recording to shares, with a trained system that is one folder."""
