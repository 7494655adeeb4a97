"""From pictures back to latents, and what latents mean.

    encoder  a network that answers a picture with its latent, one for each generator
    encoder_file  the same as an ONNX file
    invert   the latent of a picture, refined; a generator fitted to pictures
    restore  damaged pictures, with the latent that explains best what is left of them
    sheet    what was found for pictures, side by side with them
    find_directions  sliders with names, from frames alone, so that ONNX files have them too
    learn_motion  how the latents of a film move
    dissect  what single units of the early layers draw, as a page

Everything else here works with the differentiable generator of `generator.synthesis`, opened from
generator.safetensors. Only learn_motion knows films; nothing knows the training loop.
"""
