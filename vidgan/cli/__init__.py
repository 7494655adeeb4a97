"""The command `vidgan`: one file per verb or family of verbs.

    terminal  progress bars, and what is printed
    serve     a small web server for pages
    doctor    the verb doctor: what this machine offers
    live      the verb live, and the page beside a training
    train     the verbs train and evaluate
    moves     the options of a walk
    formats   the options of a file
    choose    the verbs sample and keep
    pick      the verb pick, and its page
    render    the verb render
    export    the verbs export, serve, verify and import
    lab       the verb lab: a page in which a GAN learns
    edit      the verbs that edit pictures and latents
    directions  the verb directions
    motion    the verb motion
    main      all verbs together, and errors as one line and an exit code

A verb imports the heavy modules that it needs itself, so that --help answers at once and rendering
an ONNX file never loads torch. Results go to stdout, progress and messages to stderr.
"""
