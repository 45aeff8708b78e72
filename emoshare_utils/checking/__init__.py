"""Before a run: a profile for a corpus of one's own, and what a run will meet."""
