"""Frames to files and back. A frame is uint8 [H, W, 3] RGB, or [H, W, 4] with alpha.

    alpha     transparency: straight and multiplied colours, and grounds
    codecs    the containers, and the codecs that each can hold
    fit       frames to an exact size of whatever shape
    target    what to write and how: path, container, codec, frame rate, size, quality
    reader    films to frames
    encoders  frames to one file of one codec
    sound     sound to numbers per frame, and sound into a film
    writer    frames to a target that is complete or absent
    segments  a long film in pieces, which several processes can share
    tiles     several pictures side by side in one

This package knows neither latents nor models.
"""
