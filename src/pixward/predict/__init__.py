"""The tasks of Predict: what ties tokens, data, rewards and metrics together for the trainers."""
