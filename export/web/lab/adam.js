// What every training here needs: Adam, and random numbers.

import { numpy as np, tree } from "@jax-js/jax";
import { gaussian } from "../src/latents.js";
import { Z_DIM } from "./sizes.js";

export const [BETA1, BETA2] = [0.5, 0.999];
const EPS = 1e-8;

export const zeros = (weights) => tree.map((w) => np.zeros(w.shape, { device: w.device }), weights);

/** One update of the weights of a network. c1 and c2 correct moments that began at zero. */
export function adam(weights, slope, [first, second], rate, { c1, c2 }) {
  const one = tree.map((m, g) => m.mul(BETA1).add(g.mul(1 - BETA1)), first, tree.ref(slope));
  const two = tree.map((v, g) => v.mul(BETA2).add(np.square(g).mul(1 - BETA2)), second, slope);
  const next = tree.map(
    (w, m, v) => w.sub(m.div(c1.ref).div(np.sqrt(v.div(c2.ref)).add(EPS)).mul(rate.ref)), weights, tree.ref(one), tree.ref(two));
  return [next, [one, two]];
}

/** Uniform numbers in [0, 1), from a seed: the squared length of two normal numbers says one. */
export function uniforms(seed) {
  const normal = normals(seed, 2 ** 30);
  return () => Math.exp(-(normal() ** 2 + normal() ** 2) / 2) % 1;
}

/** Normal numbers, from the latents of a seed that begin at an index. */
export function normals(seed, first) {
  let [count, next] = [0, []];
  return () => {
    if (!next.length) next = [...gaussian(seed, first + count++, Z_DIM)];
    return next.pop();
  };
}
