// Trains a GAN as vidgan/training/step.py and codes.py do, with the losses and settings that are
// vidgan's default. It knows neither the page nor where the pictures come from.
//
//     B batch   Z z_dim   A anchors   P numbers of a small picture

import { jit, nn, numpy as np, tree, vjp } from "@jax-js/jax";
import { gaussian } from "../src/latents.js";
import { BETA1, BETA2, adam, normals, uniforms, zeros } from "./adam.js";
import { codesOf, distance, scaled } from "./codes.js";
import { LOSSES, augment, generate, inThree, judge, knownOf, newDiscriminator, newGenerator, told } from "./net.js";
import { Z_DIM } from "./sizes.js";

const CODES = 0.5; // of a batch
const ANCHORS = 512;
const HALFLIFE = 10_000; // images: of the average of G, once that many are seen 20 times
const [CALIBRATION, OF_CALIBRATION] = [16, 64]; // batches, pictures in each
export const DEFAULTS = { batch: 32, channels: 32, rateG: 4e-4, rateD: 2e-4, loss: "non-saturating", codeWeight: 10, augment: true };

/** What `net.augment` does with each of `count` pictures, from uniform numbers, seven a picture. */
export function augmentation(count, side, uniform) {
  const reach = Math.round(side / 8);
  const how = Object.fromEntries(["brightness", "saturation", "contrast"].map((name) => [name, new Float32Array(count)]));
  const [rows, columns] = [new Float32Array(count * side * side), new Float32Array(count * side * side)];
  const mask = new Float32Array(count * side * side).fill(1);
  const shift = (matrix, picture, by) => {
    for (let to = 0; to < side; to++) {
      const from = to + by;
      if (from >= 0 && from < side) matrix[(picture * side + to) * side + from] = 1;
    }
  };
  for (let i = 0; i < count; i++) {
    const u = Array.from({ length: 7 }, uniform);
    [how.brightness[i], how.saturation[i], how.contrast[i]] = [u[0] - 0.5, 2 * u[1], u[2] + 0.5];
    const [right, down] = [u[3], u[4]].map((x) => Math.floor(x * (2 * reach + 1)) - reach);
    shift(columns, i, right);
    shift(rows, i, down);
    const [x0, y0] = [u[5], u[6]].map((x) => Math.floor(x * side));
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        if (Math.abs(x - x0) < side / 4 && Math.abs(y - y0) < side / 4) mask[(i * side + y) * side + x] = 0;
      }
    }
  }
  const one = (values) => np.array(values).reshape([count, 1, 1, 1]);
  return {
    brightness: one(how.brightness), saturation: one(how.saturation), contrast: one(how.contrast),
    rows: np.array(rows).reshape([count, side, side]), columns: np.array(columns).reshape([count, side, side]),
    mask: np.array(mask).reshape([count, side, side, 1]),
  };
}

export const toFloat = (bytes, shape) => np.array(Float32Array.from(bytes, (x) => x / 127.5 - 1)).reshape(shape);

/**
 * The losses of a batch, and the gradients of both networks, before either learns.
 * batch: real [B, H, W, colours], seen (what `told` gives), onReal, onFake (or null)
 */
export function gradients(g, d, batch, { loss, codes }) {
  const { real, seen, onReal, onFake } = batch;
  const [fake, intoG] = vjp((weights) => generate(weights, seen), [g]);
  const aug = (image, how) => (how ? augment(inThree(image), how) : inThree(image));
  const [r, intoDReal] = vjp((weights) => judge(weights, aug(real.ref, onReal)), [tree.ref(d)]);
  const [f, intoDFake] = vjp((weights, image) => judge(weights, aug(image, onFake)), [d, fake.ref]);

  const [lossG, ofG] = vjp((logits) => LOSSES[loss].g(r.ref, logits), [f.ref]);
  const [, throughD] = intoDFake(ofG(np.array(1))[0]);
  let toFake = throughD;
  let whole = lossG.ref;
  if (codes) {
    const count = Math.floor(real.shape[0] * CODES);
    const [far, ofDistance] = vjp((image) => distance(image.slice([0, count]), real.slice([0, count])), [fake.ref]);
    whole = whole.add(far.mul(codes));
    toFake = toFake.add(ofDistance(np.array(codes))[0]);
  }
  const [gradientG] = intoG(toFake);

  const [lossD, ofD] = vjp((onReals, onFakes) => LOSSES[loss].d(onReals, onFakes), [r.ref, f.ref]);
  const [toR, toF] = ofD(np.array(1));
  const [onReals] = intoDReal(toR);
  const [onFakes] = intoDFake(toF);
  return { lossD, lossG: whole, gradientG, gradientD: tree.map((a, b) => a.add(b), onReals, onFakes), r, f };
}

/** A step of both networks, and the average of G moved by `share` of the way to where it then is. */
function stepped({ g, d, average, adamG, adamD }, batch, now, how) {
  const seen = told(batch.z, batch.known, batch.codes);
  const { lossD, lossG, gradientG, gradientD, r, f } = gradients(tree.ref(g), tree.ref(d), { ...batch, seen }, how);
  const [nextG, nextAdamG] = adam(g, gradientG, adamG, now.rateG, now);
  const [nextD, nextAdamD] = adam(d, gradientD, adamD, now.rateD, now);
  const nextAverage = tree.map((a, b) => a.ref.add(b.sub(a).mul(now.share.ref)), average, tree.ref(nextG));
  const sure = (logits) => nn.sigmoid(logits).mean();
  return [{ g: nextG, d: nextD, average: nextAverage, adamG: nextAdamG, adamD: nextAdamD }, np.stack([lossD, lossG, sure(r), sure(f)])];
}

export class Trainer {
  images = 0; // seen
  steps = 0;
  #order = [];
  #step = null;
  #paint = jit((g, z, known) => generate(g, told(z, known)));
  #measure = jit((g, z, known) => {
    const noted = [];
    generate(g, told(z, known), { noted }).dispose();
    return noted;
  });

  /** pictures: { bytes: Uint8Array of [N, H, H, colours], count, colours, side } */
  static async begin(pictures, settings = {}) {
    const trainer = new Trainer();
    trainer.how = { ...DEFAULTS, seed: 0, ...settings };
    trainer.pictures = pictures;
    const { channels, seed } = trainer.how;
    const normal = normals(seed, 2 ** 31);
    const g = newGenerator({ ...pictures, channels }, normal);
    const d = newDiscriminator({ ...pictures, channels }, normal);
    trainer.state = { g, d, average: tree.ref(g), adamG: [zeros(g), zeros(g)], adamD: [zeros(d), zeros(d)] };
    const { codes, layout } = await codesOf(pictures, normal);
    trainer.codes = codes;
    const anchors = new Float32Array(ANCHORS * Z_DIM);
    for (let i = 0; i < ANCHORS; i++) {
      const picture = Math.floor((i / ANCHORS) * pictures.count);
      anchors.set(codes.subarray(picture * Z_DIM, (picture + 1) * Z_DIM), i * Z_DIM);
    }
    trainer.measured = { anchors, ...layout };
    trainer.known = knownOf(trainer.measured, pictures.side);
    trainer.uniform = uniforms(seed);
    return trainer;
  }

  /** Change what a run may change: rates, loss, weight of codes, augment. */
  set(settings) {
    Object.assign(this.how, settings);
    this.#step?.dispose();
    this.#step = null;
  }

  #batch() {
    const { batch, seed, augment } = this.how;
    const { bytes, count, colours, side } = this.pictures;
    const size = side * side * colours;
    const real = new Float32Array(batch * size);
    const half = Math.floor(batch * CODES);
    const codes = new Float32Array(half * Z_DIM);
    const z = new Float32Array(batch * Z_DIM);
    for (let i = 0; i < batch; i++) {
      if (!this.#order.length) this.#order = shuffled(count, this.uniform);
      const picture = this.#order.pop();
      for (let p = 0; p < size; p++) real[i * size + p] = bytes[picture * size + p] / 127.5 - 1;
      const latent = gaussian(seed, (this.images + i) % 2 ** 32, Z_DIM);
      z.set(latent, i * Z_DIM);
      if (i < half) codes.set(scaled(this.codes.slice(picture * Z_DIM, (picture + 1) * Z_DIM), Math.hypot(...latent)), i * Z_DIM);
    }
    return {
      real: np.array(real).reshape([batch, side, side, colours]), codes: np.array(codes).reshape([half, Z_DIM]),
      z: np.array(z).reshape([batch, Z_DIM]), known: tree.ref(this.known),
      ...(augment && { onReal: augmentation(batch, side, this.uniform), onFake: augmentation(batch, side, this.uniform) }),
    };
  }

  /** Learn from one batch. Returns [loss of D, loss of G, how sure D is of reals, of fakes]. */
  async step() {
    const { batch, loss, codeWeight, rateG, rateD } = this.how;
    this.#step ??= jit((state, batch, now) => stepped(state, batch, now, { loss, codes: codeWeight }));
    this.images += batch;
    this.steps += 1;
    const halflife = Math.min(HALFLIFE, 0.05 * this.images);
    const now = {
      rateG, rateD, c1: 1 - BETA1 ** this.steps, c2: 1 - BETA2 ** this.steps, share: 1 - 0.5 ** (batch / halflife),
    };
    const [state, seen] = this.#step(this.state, this.#batch(), Object.fromEntries(Object.entries(now).map(([key, x]) => [key, np.array(x)])));
    this.state = state;
    return [...(await seen.data())];
  }

  /** Pictures of latents, normalised by each other's statistics: Uint8ClampedArray of [N, H, H, colours]. */
  async samples(latents) {
    return toBytes(await this.#paint(tree.ref(this.state.average), rows(latents), tree.ref(this.known)).data());
  }

  /** The averaged generator, with the statistics of its BatchNorms measured anew. */
  async finished() {
    const sums = [];
    for (let turn = 0; turn < CALIBRATION; turn++) {
      const z = Array.from({ length: OF_CALIBRATION }, (_, i) => gaussian(this.how.seed, turn * OF_CALIBRATION + i, Z_DIM));
      const noted = this.#measure(tree.ref(this.state.average), rows(z), tree.ref(this.known));
      for (const [n, one] of noted.entries()) {
        const side = 4 * 2 ** (n >> 1); // of the maps that were measured
        const count = OF_CALIBRATION * side * side;
        const share = (n % 2 ? count / (count - 1) : 1) / CALIBRATION; // variances are to be unbiased
        const values = await one.data();
        sums[n] ??= new Float32Array(values.length);
        for (let i = 0; i < values.length; i++) sums[n][i] += values[i] * share;
      }
    }
    const fixed = Array.from({ length: sums.length / 2 }, (_, n) => [sums[2 * n], sums[2 * n + 1]]);
    // It paints in WebAssembly wherever it was trained, so that its pictures are the same everywhere.
    const [leaves, structure] = tree.flatten(this.state.average);
    const here = [];
    for (const one of leaves) here.push(np.array(await one.ref.data(), { device: "wasm" }).reshape(one.shape));
    return new Generator(tree.unflatten(structure, here), fixed, this.measured, { ...this.pictures, ...this.how });
  }

  dispose() {
    tree.dispose([this.state, this.known]);
    for (const made of [this.#step, this.#paint, this.#measure]) made?.dispose();
  }
}

/** A generator that learns no more: each picture depends on its latent alone. */
export class Generator {
  #paint = jit((g, fixed, z, known) => generate(g, told(z, known), { fixed }));

  constructor(g, statistics, measured, { side, colours, channels }) {
    Object.assign(this, { g, statistics, measured, side, colours, channels });
    this.known = knownOf(measured, side, "wasm");
    this.fixed = statistics.map((pair) => pair.map((values) => np.array(values, { device: "wasm" })));
  }

  async frames(latents) {
    return toBytes(await this.#paint(tree.ref(this.g), tree.ref(this.fixed), rows(latents, "wasm"), tree.ref(this.known)).data());
  }

  dispose() {
    tree.dispose([this.g, this.fixed, this.known]);
    this.#paint.dispose();
  }
}

const rows = (latents, device) => np.array(Float32Array.from(latents.flatMap((z) => [...z])), { device }).reshape([latents.length, Z_DIM]);

/** Halves round to even, as in vidgan/networks/pixels.py: so a canvas of bytes rounds, too. */
const toBytes = (image) => Uint8ClampedArray.from(image, (x) => Math.fround(Math.fround(x * 127.5) + 127.5));

function shuffled(count, uniform) {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
