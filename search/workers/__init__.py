"""Ray and what runs in it: the bridge from Optuna to Tune, and the warm workers."""
