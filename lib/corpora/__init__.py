"""Each corpus's layout on disk, and tables of annotations -> one table of recordings.

Start with catalogue, which lists the corpora; a module per corpus says how it is laid out.
"""
