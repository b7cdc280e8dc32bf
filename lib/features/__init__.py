"""Convert sound to log-mel frames, for one recording or for thousands.

Start with audio_decoding (file to samples) and log_mel (samples to frames). extraction processes a
whole corpus in parallel and can resume.
"""
