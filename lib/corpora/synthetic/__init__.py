"""Small synthetic corpora in the layouts of the real ones, for the demo and the tests.

Start with corpora. Sounds are float32 (n,), in [-1, 1], at SAMPLE_RATE.
"""

RECORD = "demo.json"  # identifies the folder of a demo
SAMPLE_RATE = 16_000
TOP_HZ = 7600.0  # highest partial [ours], below the Nyquist frequency of 8000 Hz
