"""Data sets: the HDF5 files, the splits, the windows, and the stage that makes them.

Start with preparation (the stage), dataset_file (the format) and windows (what is read from it).
"""
