"""The HDF5 file of a data set, its splits, its windows, and the stage that makes it.

Start with preparation (the stage), dataset_file (the format) and windows (what is read from it).
"""
