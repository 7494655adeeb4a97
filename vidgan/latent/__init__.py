"""Numbers in, latents out: numpy alone, and no model.

    seeds       maps a seed and an index to a Gaussian latent, the same in every language
    directions  moves latents along named directions
    paths       maps a frame index to a latent on a path
    motion      plays motion that was learned from a film
    npy         reads latents from a file of NumPy

A latent is a vector z of z_dim numbers. A generator turns it into a picture.
"""
