"""Predictions -> numbers (`scores`, `comparisons`), tables (`tables`, `rendering`) and figures."""
