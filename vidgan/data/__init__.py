"""Pictures and films of any kind become batches of uint8 pictures of one size.

    ahead      items made before they are needed, in a thread
    pictures   one still picture, of any mode, size and orientation
    sequences  many pictures in one file: pages of a TIFF, frames of an animation
    archives   zip files, read in place
    downloads  the sets that are fetched by their name
    folders    what is in a folder to learn from
    sources    a folder, zip, film or set, told apart by names and heads
    cache      pictures decoded once into a file that is mapped into memory
    order      which pictures are used, and in what order

It knows neither floats nor networks.
"""
