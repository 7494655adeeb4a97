"""A walk through latent space, made into a film by one pipeline of bounded memory.

    constant_speed  moves frames along a path until all change equally much
    grid            several walks in one film
    mixed           several generators in one film
    walk            all that decides the frames but the model, as options or a JSON file
    chapters        walks one after the other in one film
    plot            a picture of what moves when
    pipeline        path, generator and encoder at work at the same time
    beside          clips of a learned motion with the nearest of its film
    max_size        a GIF or WebP that is not larger than asked

It sees a generator only as `generator.synthesis.Synthesize`, and imports no torch.
"""
