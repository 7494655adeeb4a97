"""Statements in a picture, a film or a model file that a trained model made it.

    xmp   the mark of synthetic media: written into every kind of file, and read back
    c2pa  a signed statement of the same, with the user's own certificate

This package does not know how frames are made.
"""
