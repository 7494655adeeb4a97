"""A walk through latent space, made into a film in one bounded pipeline.

    constant_speed  a path whose frames all change equally much
    grid            several walks in one film
    pipeline        path, generator and encoder at work at the same time
    walk            what each option of `vidgan render` sets, as a JSON file

It sees a generator only as `generator.synthesis.Synthesize`, and imports no torch.
"""
