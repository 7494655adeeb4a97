"""Files on disk: where they are, how they are written, and which process may write them.

    places     the files that ship with vidgan, and the folder of its cache
    files      files and folders that appear complete or not at all
    locks      one process at a time
    templates  pages with placeholders, and what replaces them

This package does not know what the files contain.
"""
