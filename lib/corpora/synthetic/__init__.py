"""Small synthetic corpora in the layouts of the real ones, for the demo and the tests."""
