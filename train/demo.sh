#!/bin/sh
# What `make demo` runs: train on the shipped footage, render a film, export the generator.
set -eu
vidgan train --recipe demo
vidgan render --frames 120 --force out.mp4
vidgan export --force generator.onnx
echo
echo "film:       $PWD/out.mp4"
echo "generator:  $PWD/generator.onnx"
echo "run:        $(ls -d "$PWD"/runs/* | tail -n 1)"
