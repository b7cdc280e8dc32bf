"""The rooms of the suite; docs/DESIGN.md says which owns what."""
