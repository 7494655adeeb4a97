"""The command `vidgan`: one file per verb or family of verbs.

    terminal  progress bars, and what is printed
    serve     a small web server for the exported page
    doctor    what this machine offers
    render    the verbs render and sample
    export    the verbs export, serve, verify and import
    main      the command itself, and the verbs train, evaluate and doctor

Heavy packages are imported inside the verb that needs them, so that --help answers at once.
"""
