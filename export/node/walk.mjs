// The latents of a walk, frame by frame, with the code of the page (../web/src).

import { away, centreOf, classWeights, gaussian, inTurn, moved, route, truncated } from "../web/src/latents.js";
import { areClasses, FORMAT, latentOf, parsed } from "../web/src/walk.js";

/** The text of a walk's file for a seed alone. */
export const ofSeed = (seed, frames, zDim, labels = []) =>
  `{"format": "${FORMAT}", "z_dim": ${zDim}, "seed": ${seed}, "frames": ${frames}, "labels": ${JSON.stringify(labels)}}`;

/**
 * A walk in the text of a file: {frames, fps, labels, at}. `at(i)` gives the latent z of frame i, a
 * Float32Array, and the weights of the classes. Throws an Error of one line.
 */
export function played(text, { zDim, classes }) {
  const walk = parsed(text, zDim);
  const { seed, frames, fps, closed, keyframes, gain } = walk;
  const labels = walk.labels ?? [];
  if (walk.grid) throw new Error("The walk is a grid of walks; vidgan render --walk plays it.");
  if ((walk.constant_speed || walk.audio) && !walk.positions) {
    throw new Error("The walk is not timed; vidgan render --walk with --save-walk adds the positions of its frames.");
  }
  const positions = walk.positions?.[0];
  if (!areClasses(labels, classes)) throw new Error(`The walk's labels are ${JSON.stringify(labels)}; the model has ${classes || "no"} classes.`);
  const count = keyframes.length ?? keyframes;
  const along = route(walk, count, (i) => (keyframes.length ? latentOf(keyframes[i], zDim) : gaussian(seed, i, zDim)));
  const centre = centreOf(seed, zDim);
  const shares = [walk.truncation].flat().map(away);
  const at = (i) => {
    const t = positions ? positions[i] : i / Math.max(1, closed ? frames : frames - 1);
    const now = (values) => { const [a, b, u] = inTurn(values, t, closed); return (1 - u) * a + u * b; };
    const near = truncated(along(t * (closed ? count : count - 1)), centre, now(shares) * (gain?.[i] ?? 1));
    return {
      z: moved(near, walk.directions, t, closed),
      weights: Number.isFinite(classes) ? classWeights(labels.length ? labels : [0], classes, t, closed) : null,
    };
  };
  return { frames, fps, labels, at };
}
