"""Every picture. Knows numbers, not how they came about."""
