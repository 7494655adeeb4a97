// A GAN in the plane: its data are points, so that everything can be seen: the data, what the generator
// makes, and what the discriminator believes of every place.
//
//     B batch   Z latent   W width

import { grad, jit, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { BETA1, BETA2, adam, normals, zeros } from "./adam.js";
import { FIELD, REACH, points } from "./heaps.js";
import { LOSSES } from "./net.js";

const [BATCH, Z, W] = [128, 4, 64];
const CLOUD = 256; // made points that are shown
const SLOPE = 0.2;
const WASM = { device: "wasm" }; // these products are too small for a GPU

const DEFAULTS = { data: "ring", loss: "non-saturating", penalty: 0, rateG: 1e-3, rateD: 1e-3, seed: 0 };

function layers(sizes, normal) {
  return sizes.slice(1).map((to, n) => ({
    weight: np.array(Float32Array.from({ length: sizes[n] * to }, () => normal() * Math.sqrt(2 / sizes[n])), WASM).reshape([sizes[n], to]),
    bias: np.zeros([to], WASM),
  }));
}

function through(layers, x) {
  for (const [n, { weight, bias }] of layers.entries()) {
    x = np.matmul(x, weight).add(bias);
    if (n < layers.length - 1) x = np.maximum(x.ref.mul(SLOPE), x);
  }
  return x;
}

const judged = (d, x) => through(d, x).reshape([-1]);

function stepped({ g, d, adamG, adamD }, { real, z, z2 }, now, loss, penalized) {
  const fake = through(tree.ref(g), z);
  const ofD = (d, real, fake) => {
    const judgedHere = LOSSES[loss].d(judged(tree.ref(d), real.ref), judged(tree.ref(d), fake));
    if (!penalized) return (tree.dispose([d, real]), judgedHere);
    const slope = grad((x) => judged(d, x).sum())(real);
    return judgedHere.add(np.square(slope).sum(1).mean().mul(now.penalty.ref));
  };
  const [lossD, slopeD] = valueAndGrad(ofD)(tree.ref(d), real.ref, fake);
  const [nextD, nextAdamD] = adam(d, slopeD, adamD, now.rateD, now);
  const ofG = (g) => LOSSES[loss].g(judged(tree.ref(nextD), real), judged(tree.ref(nextD), through(g, z2)));
  const [lossG, slopeG] = valueAndGrad(ofG)(tree.ref(g));
  const [nextG, nextAdamG] = adam(g, slopeG, adamG, now.rateG, now);
  return [{ g: nextG, d: nextD, adamG: nextAdamG, adamD: nextAdamD }, np.stack([lossD, lossG])];
}

export class Plane {
  steps = 0;
  #step = null;
  #see = jit((g, d, z, places) => [through(g, z), judged(d, places)]);

  constructor(settings) {
    this.how = { ...DEFAULTS, ...settings };
    this.normal = normals(this.how.seed, 0);
    const [g, d] = [layers([Z, W, W, 2], this.normal), layers([2, W, W, 1], this.normal)];
    this.state = { g, d, adamG: [zeros(g), zeros(g)], adamD: [zeros(d), zeros(d)] };
    this.z = np.array(this.#latents(CLOUD), WASM).reshape([CLOUD, Z]);
    const at = (n) => ((n + 0.5) / FIELD) * 2 * REACH - REACH;
    const places = Array.from({ length: FIELD ** 2 }, (_, n) => [at(n % FIELD), -at(Math.floor(n / FIELD))]);
    this.places = np.array(Float32Array.from(places.flat()), WASM).reshape([FIELD ** 2, 2]);
  }

  #latents(count) {
    return Float32Array.from({ length: count * Z }, this.normal);
  }

  set(settings) {
    Object.assign(this.how, settings);
    this.#step?.dispose();
    this.#step = null;
  }

  async step() {
    const { data, loss, penalty, rateG, rateD } = this.how;
    this.#step ??= jit((state, batch, now) => stepped(state, batch, now, loss, penalty > 0));
    this.steps++;
    const batch = {
      real: np.array(points(data, BATCH, this.normal), WASM).reshape([BATCH, 2]),
      z: np.array(this.#latents(BATCH), WASM).reshape([BATCH, Z]), z2: np.array(this.#latents(BATCH), WASM).reshape([BATCH, Z]),
    };
    const now = { rateG, rateD, penalty: penalty / 2, c1: 1 - BETA1 ** this.steps, c2: 1 - BETA2 ** this.steps };
    const [state, seen] = this.#step(this.state, batch, Object.fromEntries(Object.entries(now).map(([key, x]) => [key, np.array(x, WASM)])));
    this.state = state;
    return [...(await seen.data())];
  }

  /** Where the generator puts fixed latents, and D's logits at the places of a grid. */
  async see() {
    const [cloud, field] = this.#see(tree.ref(this.state.g), tree.ref(this.state.d), this.z.ref, this.places.ref);
    return { cloud: await cloud.data(), field: await field.data() };
  }

  dispose() {
    tree.dispose([this.state, this.z, this.places]);
    for (const made of [this.#step, this.#see]) made?.dispose();
  }
}
