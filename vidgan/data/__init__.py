"""Anything to look at, to batches of pictures uint8 of one size.

    pictures   one still picture, of any mode, size and orientation
    downloads  the sets that are fetched by their name
    sources    a folder, zip, film or set, told apart by looking
    cache      pictures decoded once into a file that is mapped into memory
    order      which pictures a training run looks at, and when

It knows neither floats nor networks.
"""
