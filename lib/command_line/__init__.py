"""Define the flags of the scripts, and the code that similar scripts share."""
