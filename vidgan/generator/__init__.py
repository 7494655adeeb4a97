"""A generator as a file: open it, save it, import it, export it, and prove the export.

    classes         the classes of a generator, by number and by name
    metadata        the JSON in model files, checked
    checkpoint      safetensors files of weights, verified when they are read
    onnx_file       an ONNX file in ONNX Runtime
    runs            where a run keeps generators, of now and of earlier
    favourites      pictures kept by name
    synthesis       a generator of either kind, for frames or for images with gradients
    directions      the named directions of a generator, beside it
    motion          a motion that was learned for it, as a file
    selftest        the self-test that an ONNX file contains
    graph           the graphs around a generator in an ONNX file
    variants        smaller forms of the graph of a generator: float16, int8
    export          a generator to an ONNX file, with the proof
    weights_file    what a file of PyTorch holds
    layout          the layers that tensors may belong to
    fit             which of them fits the statistics of BatchNorm
    import_weights  a generator that was trained elsewhere
    web_page        a generator as a page for a browser

torch and onnx are imported only by the modules that need them.
"""
