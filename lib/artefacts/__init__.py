"""Run directories and data set folders: their names, run.json, files written whole.

Start with run_name: every other package uses it to locate a run.
"""
