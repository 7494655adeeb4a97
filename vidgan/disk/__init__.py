"""Where files lie, whole or absent, and locked.

    places  the files that ship with vidgan, and the folder of its cache
    files   a file or folder that appears whole or not at all
    locks   one process at a time

It knows nothing of what is in a file.
"""
