"""Speech features -> encoder."""
