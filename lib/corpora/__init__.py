"""Read a corpus on disk and its annotation table into one table of recordings.

Start with catalogue, which lists the corpora; each corpus has a module that describes its layout.
"""
