"""Flags, and what the twin scripts share."""
