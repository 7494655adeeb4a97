// The networks of vidgan's dcgan, and its losses, in jax-js: as vidgan/networks/dcgan.py, losses.py and
// augment.py have them. In jax-js a function consumes its arguments; `.ref` keeps one for another use.
//
// jax-js multiplies matrices fast and convolves slowly. So every convolution here is four products of
// matrices: with a stride of 2, a window of 4x4 pixels is one of 2x2 blocks of 2x2 pixels.
//
//     B batch   H W pixels   C O channels in and out   Z z_dim   A anchors

import { nn, numpy as np } from "@jax-js/jax";
import { gaussian } from "../src/latents.js";
import { SMALL, Z_DIM } from "./sizes.js";

const FIRST = 4; // the side of the smallest maps
export const STAGE = Math.log2(SMALL / FIRST); // whose maps have a layout beside them
const NOISE = 0.3; // strength at first
export const NOISE_FROM = 16; // numbers of a latent
export const BENEATH = 1.5; // of the layout beneath a picture, before tanh
const SLOPE = 0.2; // of LeakyReLU
export const EPS = 1e-5; // of BatchNorm
export const [SHARPNESS, OWN] = [4, 0.6]; // of `drawn`
const PAIRS = [[0, 0], [0, 1], [1, 0], [1, 1]];

/** Channels of D's stages, largest picture first; those of G are the same, from last to first. */
const widths = (channels, side) => Array.from({ length: Math.log2(side / FIRST) }, (_, stage) => channels * 2 ** stage);

/** New weights, drawn by `normal()`: N(0, 0.02), and kernels that double a side spread smoothly. */
export function newGenerator({ channels, colours, side }, normal) {
  const wide = widths(channels, side).reverse();
  const random = (shape, scale = 0.02) => np.array(filled(shape, () => scale * normal())).reshape(shape);
  const taps = [1, 2, 1];
  const double = (from, to) => {
    const one = filled([from, to], normal);
    const all = new Float32Array(9 * from * to);
    for (let tap = 0; tap < 9; tap++) {
      const size = (0.02 * taps[Math.floor(tap / 3)] * taps[tap % 3]) / 5;
      for (let i = 0; i < one.length; i++) all[tap * one.length + i] = size * one[i];
    }
    return np.array(all).reshape([3, 3, from, to]);
  };
  return {
    first: random([Z_DIM, FIRST * FIRST * wide[0]]),
    norms: wide.map((width) => newNorm(width, normal)),
    strengths: wide.slice(1).map((width) => random([width], NOISE)),
    doubles: wide.map((width, stage) => double(width + colours * (stage === STAGE), wide[stage + 1] ?? colours)),
    bias: np.zeros([colours]),
  };
}

export function newDiscriminator({ channels, side }, normal) {
  const wide = [3, ...widths(channels, side)];
  const random = (shape) => np.array(filled(shape, () => 0.02 * normal())).reshape(shape);
  return {
    halves: wide.slice(1).map((width, stage) => random([2, 2, 4 * wide[stage], width])),
    norms: wide.slice(2).map((width) => newNorm(width, normal)),
    bias: np.zeros([wide[1]]),
    last: random([FIRST * FIRST * wide.at(-1), 1]),
    lastBias: np.zeros([1]),
  };
}

const newNorm = (width, normal) => ({ gain: np.array(filled([width], () => 1 + 0.02 * normal())), bias: np.zeros([width]) });

const filled = (shape, next) => Float32Array.from({ length: shape.reduce((a, b) => a * b) }, next);

/**
 * Arrays of what `told` needs: what was measured of the data (anchors, and the layout of `codesOf`), the
 * weights of each pixel's noise, and a matrix that enlarges small pictures to a side.
 */
export function knownOf({ anchors, mean, parts, contrast }, side, device) {
  const array = (values, shape) => np.array(values, { device }).reshape(shape);
  return {
    anchors: array(anchors, [-1, Z_DIM]), mean: array(mean, [-1]), parts: array(parts, [Z_DIM, mean.length]), contrast: array(contrast, [2]),
    fields: noiseSides(side).map((one, n) => array(field(n + 1, one), [NOISE_FROM, one * one])), up: array(enlarging(side), [SMALL, side]),
  };
}

/** Of maps with noise: those of all stages but the first. */
export const noiseSides = (side) => Array.from({ length: Math.log2(side / FIRST) - 1 }, (_, n) => FIRST * 2 ** (n + 1));

/** How much each of the first numbers of a latent counts in each pixel's noise: [16, h h]. */
export function field(stage, side) {
  const all = new Float32Array(NOISE_FROM * side * side);
  for (let p = 0; p < side * side; p++) gaussian(stage, p, NOISE_FROM).forEach((x, n) => (all[n * side * side + p] = x));
  return all;
}

/** The matrix of a bicubic enlargement: [16, H]. */
export function enlarging(side) {
  const all = new Float32Array(side * SMALL);
  const cubic = (x) => (x <= 1 ? (1.25 * x - 2.25) * x * x + 1 : x < 2 ? -0.75 * (((x - 5) * x + 8) * x - 4) : 0);
  for (let y = 0; y < side; y++) {
    const at = ((y + 0.5) * SMALL) / side - 0.5;
    for (let from = Math.floor(at) - 1; from < Math.floor(at) + 3; from++) {
      all[Math.min(SMALL - 1, Math.max(0, from)) * side + y] += cubic(Math.abs(at - from));
    }
  }
  return all;
}

/**
 * What G is told of latents z [B, Z], of which the first are replaced by `codes` [K, Z], if there are
 * any: { x [B, Z], noise: a field [B, h, h, 1] for each stage but the first, layout: two pictures
 * [B, h, h, colours] }, as `dcgan.Noise` and `dcgan.Layout` make them.
 */
export function told(z, { anchors, mean, parts, contrast, fields, up }, codes) {
  const batch = z.shape[0];
  const scale = Math.sqrt(Z_DIM / NOISE_FROM);
  const some = z.ref.slice([], [0, NOISE_FROM]).div(lengths(z.ref)).mul(scale);
  const noise = fields.map((one) => {
    const side = Math.sqrt(one.shape[1]);
    return np.matmul(some.ref, one).reshape([batch, side, side, 1]);
  });
  some.dispose();
  let [x, near] = drawn(codes ? z.slice([codes.shape[0], batch]) : z, anchors);
  if (codes) [x, near] = [np.concatenate([codes.ref, x], 0), np.concatenate([codes, near], 0)];
  return { x, noise, layout: layouts(near, mean, parts, contrast, up) };
}

function layouts(near, mean, parts, contrast, up) {
  const others = near.ref.slice([], [1, Z_DIM]);
  const first = near.ref.slice([], [0, 1]).div(lengths(near.ref)).mul(Math.sqrt(Z_DIM));
  const scale = first.mul(contrast.ref.slice([1, 2])).add(contrast.slice([0, 1]));
  const part = np.matmul(near, parts).div(lengths(others));
  const small = mean.add(np.square(scale).mul(part)); // [B, P]
  const colours = small.shape[1] / SMALL ** 2;
  const image = small.reshape([-1, SMALL, SMALL, colours]);
  const wide = np.matmul(image.ref.transpose([0, 2, 3, 1]), up.ref); // [B, 16, C, H]
  return [image, np.matmul(wide.transpose([0, 3, 2, 1]), up).transpose([0, 1, 3, 2])];
}

/** G: what it is told -> pictures [B, H, W, colours] in [-1, 1]. With `fixed`, a mean and variance
 * for each BatchNorm, a picture does not depend on its batch. `noted` gets those of the batch. */
export function generate(g, { x: seen, noise, layout }, { fixed = [], noted } = {}) {
  let x = np.matmul(seen, g.first);
  x = x.reshape([x.shape[0], FIRST, FIRST, -1]);
  for (const [stage, kernel] of g.doubles.entries()) {
    x = norm(x, g.norms[stage], fixed[stage], noted);
    if (stage) x = x.add(noise[stage - 1].mul(g.strengths[stage - 1]));
    x = nn.relu(x);
    if (stage !== STAGE) {
      x = doubled(x, kernel);
      continue;
    }
    // The layout stands beside the maps. Multiplied apart, because an odd number of them is slow.
    const [own, ofLayout] = np.split(kernel, [x.shape[3]], 2);
    x = doubled(x, own).add(doubled(layout[0], ofLayout));
  }
  return np.tanh(x.add(g.bias).add(layout[1].mul(BENEATH)));
}

/** D: pictures [B, H, W, 3] -> logits [B]. Above 0 means "real". */
export function judge(d, image) {
  let x = image;
  for (const [stage, kernel] of d.halves.entries()) {
    x = halved(x, kernel);
    x = stage ? norm(x, d.norms[stage - 1]) : x.add(d.bias);
    x = np.maximum(x.ref.mul(SLOPE), x);
  }
  return np.matmul(x.reshape([x.shape[0], -1]), d.last).add(d.lastBias).reshape([-1]);
}

/** BatchNorm by the mean and variance of the batch, or by fixed ones. */
function norm(x, { gain, bias }, fixed, noted) {
  const mean = fixed?.[0] ?? x.ref.mean([0, 1, 2]);
  noted?.push(mean.ref);
  const away = x.sub(mean);
  const variance = fixed?.[1] ?? np.square(away.ref).mean([0, 1, 2]);
  noted?.push(variance.ref);
  return away.mul(gain.div(np.sqrt(variance.add(EPS)))).add(bias);
}

/** A convolution with 4x4 taps that halves both sides. kernel [2, 2, 4 C, O]: blocks, pixels in them. */
function halved(x, kernel) {
  const [batch, height, width, channels] = x.shape;
  const [h, w] = [height / 2, width / 2];
  const blocks = np.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]).reshape([batch, h + 1, 2, w + 1, 2, channels])
    .transpose([0, 1, 3, 2, 4, 5]).reshape([batch, h + 1, w + 1, 4 * channels]);
  const parts = PAIRS.map(([i, j]) => np.matmul(blocks.ref.slice([], [i, i + h], [j, j + w], []), kernel.ref.slice(i, j)));
  blocks.dispose();
  kernel.dispose();
  return parts.reduce((a, b) => a.add(b));
}

/** Doubles both sides and convolves 3x3: `dcgan.Doubling`. kernel [3, 3, C, O]. */
function doubled(x, kernel) {
  const [batch, h, w] = x.shape;
  const [, , from, to] = kernel.shape;
  const wide = PAIRS.map(([y, x]) => np.pad(kernel.ref, [[y, 1 - y], [x, 1 - x], [0, 0], [0, 0]])).reduce((a, b) => a.add(b));
  kernel.dispose();
  const blocks = wide.reshape([2, 2, 2, 2, from, to]).transpose([0, 2, 4, 1, 3, 5]).reshape([2, 2, from, 4 * to]);
  const parts = PAIRS.map(([i, j]) => np.pad(np.matmul(x.ref, blocks.ref.slice(i, j)), [[0, 0], [i, 1 - i], [j, 1 - j], [0, 0]]));
  x.dispose();
  blocks.dispose();
  return parts.reduce((a, b) => a.add(b)).reshape([batch, h + 1, w + 1, 2, 2, to]).transpose([0, 1, 3, 2, 4, 5])
    .reshape([batch, 2 * h + 2, 2 * w + 2, to]).slice([], [1, 2 * h + 1], [1, 2 * w + 1], []);
}

/** Latents [B, Z] drawn to the anchors [A, Z] that are most like them, and these anchors: `base.drawn`. */
export function drawn(z, anchors) {
  const length = lengths(z.ref);
  const own = z.div(length.ref);
  const alike = np.matmul(own.ref, anchors.ref.transpose()).mul(SHARPNESS * Math.sqrt(Z_DIM));
  const sum = np.matmul(nn.softmax(alike, 1), anchors);
  const mean = sum.ref.div(lengths(sum));
  const both = mean.ref.mul(Math.sqrt(1 - OWN ** 2)).add(own.mul(OWN));
  return [both.ref.mul(length).div(lengths(both)), mean];
}

export const lengths = (z) => np.sqrt(np.square(z).sum(1, { keepdims: true })).add(1e-6);

/** Grey pictures, or coloured ones, in three channels. */
export const inThree = (image) => (image.shape[3] === 1 ? np.broadcastTo(image, [...image.shape.slice(0, 3), 3]) : image);

/**
 * DiffAugment: colours, then a shift and a hole. `how` has, for each picture: brightness, saturation
 * and contrast [B, 1, 1, 1], matrices that shift rows [B, H, H] and columns [B, W, W], and a mask
 * [B, H, W, 1] that is 0 in the hole.
 */
export function augment(image, { brightness, saturation, contrast, rows, columns, mask }) {
  const [batch, height, width, channels] = image.shape;
  const grey = image.ref.mean(3, { keepdims: true });
  const level = grey.ref.mean([1, 2], { keepdims: true });
  const rest = grey.mul(contrast.ref.mul(np.subtract(1, saturation.ref))).add(level.mul(np.subtract(1, contrast.ref)).add(brightness));
  const coloured = image.mul(contrast.mul(saturation)).add(rest);
  const down = np.matmul(rows, coloured.reshape([batch, height, width * channels])).reshape([batch, height, width, channels]);
  const across = np.matmul(columns, down.transpose([0, 2, 1, 3]).reshape([batch, width, height * channels]));
  return across.reshape([batch, width, height, channels]).transpose([0, 2, 1, 3]).mul(mask);
}

// Losses of maps of logits: r on reals, f on fakes.

export function softplus(x) {
  return nn.relu(x.ref).add(np.log1p(np.exp(np.negative(np.absolute(x)))));
}

const leastSquares = (x, wanted) => np.square(x.sub(wanted)).mean().mul(0.5);
const dropping = (x, value) => (x.dispose(), value);

export const LOSSES = {
  "non-saturating": {
    d: (r, f) => softplus(np.negative(r)).mean().add(softplus(f).mean()),
    g: (r, f) => dropping(r, softplus(np.negative(f)).mean()),
  },
  minimax: {
    d: (r, f) => softplus(np.negative(r)).mean().add(softplus(f).mean()),
    g: (r, f) => dropping(r, np.negative(softplus(f).mean())),
  },
  lsgan: { d: (r, f) => leastSquares(r, 1).add(leastSquares(f, 0)), g: (r, f) => dropping(r, leastSquares(f, 1)) },
  hinge: {
    d: (r, f) => nn.relu(np.subtract(1, r)).mean().add(nn.relu(f.add(1)).mean()),
    g: (r, f) => dropping(r, np.negative(f.mean())),
  },
  rpgan: { d: (r, f) => softplus(f.sub(r)).mean(), g: (r, f) => softplus(r.sub(f)).mean() },
};
