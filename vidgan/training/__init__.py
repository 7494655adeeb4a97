"""A training run: set up, step, loop, state, log and report.

    log         the lines of stats.jsonl
    run_folder  the folder of a run, its lock, and the pictures of its progress
    state       all that a step reads and changes, saved and restored
    batches     what one process sees in one step
    setup       device, data and networks, before the first step
    average     the generator whose weights are averaged over the run
    unrolled    the discriminator some steps from now
    report      the run on one page
    loop        the training loop

It is the only package that knows optimisers and devices.
"""
