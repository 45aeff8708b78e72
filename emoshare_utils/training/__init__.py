"""One network per emotion: losses, early stopping, the loop, checkpoints, and the SVR baseline."""
