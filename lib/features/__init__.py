"""Sound -> log-mel frames, of one recording or of thousands.

Start with audio_decoding (file to samples) and log_mel (samples to frames); extraction does it for
a corpus, in parallel and resumable.
"""
