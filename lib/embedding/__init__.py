"""Encode sound into a codes file, with hand-crafted features or any network.

Start with encoder (what an encoder is) and catalogue (the list of encoders). embedding_stage is
the stage behind embed.py. Each module in encoders/ adapts one package or kind of model.
"""
