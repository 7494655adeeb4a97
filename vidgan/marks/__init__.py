"""What says that a picture, a film or a model was made by a trained model.

    xmp   the mark of synthetic media: written into every kind of file, and read back
    c2pa  a signed statement of the same, with a certificate of the user's own

It knows nothing of how frames are made.
"""
