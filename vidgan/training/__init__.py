"""A training run: set up, step, loop, state, log and report.

    log         the lines of stats.jsonl and commands.jsonl
    run_folder  the folder of a run: its name, its lock and its pictures
    live        the page that shows a run while it trains, and steers it
    codes       latents of real pictures, from which G learns to paint these
    state       all that a step changes, saved and restored
    start       the networks of another run, to begin with
    faults      out of memory, and lost processes
    batches     what one process trains on in one step
    setup       device, data and networks, before the first step
    average     the averaged generator: its samples, its distance, its file
    unrolled    the discriminator some steps ahead
    step        one update of the discriminator and of the generator
    forecast    what to expect of a run, and when
    report      the run on one page
    steering    what the page asks for, between two steps
    words       what a run says of its goal and of what it kept
    loop        the training loop

It is the only package that knows optimizers.
"""
