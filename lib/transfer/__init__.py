"""Encoder + music -> classifier, tested on the test clips.

Start with transfer_stage.
"""
