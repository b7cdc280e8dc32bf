"""Sound -> a codes file, with any encoder: hand-crafted features, somebody's network, the suite's.

Start with encoder (what an encoder is) and catalogue (the list of them); embedding_stage is the
stage behind embed.py. Each module in encoders/ adapts one package or kind of model.
"""
