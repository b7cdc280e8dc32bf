"""Where runs and data sets stand, and what stands in them: names, run.json, whole files.

Start with run_name: every other package asks it where a run is.
"""
