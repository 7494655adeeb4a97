"""How good a generator is, and whether a training run is going wrong.

    features    320 numbers that describe what a picture looks like
    distances   how far apart two sets of pictures are in these numbers
    patches     how far apart they are without a network: patches, layout, colour
    evaluate    a generator, or a set of pictures, compared with other pictures
    validation  distances during a run, so that its best generator is kept
    watch       collapse, divergence and other troubles, named once

It knows neither networks in training nor their steps.
"""
