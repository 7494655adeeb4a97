"""Frames to files and back. A frame is uint8 [H, W, 3] RGB.

    codecs    the kinds of file, and the codecs that each can hold
    reader    a film that somebody recorded, to frames
    encoders  frames to one file of one codec
    sound     a sound to numbers per frame, and into a film
    writer    frames to a target that is whole or absent
    segments  a long film in pieces, which several processes can share
    tiles     several frames side by side in one

It knows neither latents nor models.
"""
