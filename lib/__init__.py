"""The rooms of the suite; CONTRIBUTING.md says which owns what."""
