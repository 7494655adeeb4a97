// Codes: the latents of real pictures, from which G learns to paint these again, as in
// vidgan/training/codes.py. They say where a small picture stands on the principal components of all.
//
//     K directions   N pictures   P numbers of a small picture   Z z_dim

import { numpy as np } from "@jax-js/jax";
import { SMALL, Z_DIM } from "./sizes.js";

const MOST = 4000; // pictures from which the components are computed
const FLOOR = 1e-5; // of all variance
const WASM = { device: "wasm" };
const [SPAN, TURNS] = [128, 12]; // directions and turns of the search for the components
const DIRECTIONS = Z_DIM - 1; // and a first number says how far a picture is from the mean
const WINDOWS = 8; // along a side, in each of which contrast is one number
const CONTRAST = 10; // weight of the contrast beside that of small pictures

/** How far fakes [B, H, W, C] are from the reals of their codes: by small pictures, and by contrasts. */
export function distance(fake, real) {
  const far = (a, b) => np.square(a.sub(b)).mean();
  const [ofFake, ofReal] = [contrasts(fake.ref), contrasts(real.ref)];
  const coarse = far(averaged(fake, SMALL), averaged(real, SMALL));
  return ofFake.reduce((sum, one, n) => sum.add(far(one, ofReal[n]).mul(CONTRAST)), coarse);
}

/** For each octave finer than a small picture, how strong its Haar wavelets are in 8x8 windows. */
function contrasts(image) {
  const [batch, height, width, channels] = image.shape;
  if (height <= SMALL) return (image.dispose(), []);
  const pairs = image.reshape([batch, height / 2, 2, width / 2, 2, channels]);
  const at = (y, x) => pairs.ref.slice([], [], y, [], x, []);
  const [a, b, c, d] = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
  pairs.dispose();
  const [top, bottom, left, right] = [a.ref.add(b.ref), c.ref.add(d.ref), a.ref.sub(b.ref), c.ref.sub(d.ref)];
  for (const one of [a, b, c, d]) one.dispose();
  const waves = np.concatenate([top.ref.sub(bottom.ref), left.ref.add(right.ref), left.sub(right)], 3).div(4);
  const strong = np.sqrt(averaged(np.square(waves), WINDOWS).add(1e-4));
  return [strong, ...contrasts(top.add(bottom).div(4))];
}

/** [B, H, W, C] -> [B, side, side, C] by averaging. */
function averaged(image, side) {
  const [batch, height, width, channels] = image.shape;
  return image.reshape([batch, side, height / side, side, width / side, channels]).mean([2, 4]);
}

/**
 * The codes of all pictures, each of length 1: Float32Array of N Z numbers. And what says the small
 * picture of a code, as in `dcgan.Layout`: mean [P], parts [Z P] and contrast [2], Float32Arrays.
 */
export async function codesOf(pictures, normal) {
  const { count } = pictures;
  const all = smallOf(pictures);
  const size = all.length / count;
  const mean = new Float64Array(size);
  for (let i = 0; i < all.length; i++) mean[i % size] += all[i] / count;
  for (let i = 0; i < all.length; i++) all[i] -= mean[i % size];
  const x = np.array(all, WASM).reshape([count, size]);
  const most = Math.min(MOST, count);
  const some = x.ref.slice([0, most]);
  const covariance = np.matmul(some.ref.transpose(), some).div(most);
  const { axes, parts } = await components(covariance, size, normal);
  const places = await np.matmul(x, np.array(axes, WASM).reshape([size, DIRECTIONS])).data();
  const place = (row) => places.subarray(row * DIRECTIONS, (row + 1) * DIRECTIONS);
  const roots = Float64Array.from({ length: count }, (_, row) => Math.sqrt(Math.hypot(...place(row))));
  const middle = roots.reduce((sum, x) => sum + x / count, 0);
  const deviation = Math.sqrt(roots.reduce((sum, x) => sum + (x - middle) ** 2 / count, 0));
  const codes = new Float32Array(count * Z_DIM);
  for (let row = 0; row < count; row++) {
    const code = codes.subarray(row * Z_DIM, (row + 1) * Z_DIM);
    code[0] = Math.max(-3, Math.min(3, (roots[row] - middle) / (deviation + 1e-6)));
    code.set(scaled(place(row), Math.sqrt(DIRECTIONS)), 1);
    scaled(code, 1);
  }
  return { codes, layout: { mean: Float32Array.from(mean), parts, contrast: Float32Array.of(middle, deviation) } };
}

/** Principal components, each as long as its inverse standard deviation, rotated at random: `axes`
 * [P, K]. And the least squares way back, beneath zeros for the first number of a code: `parts` [Z, P]. */
async function components(covariance, size, normal) {
  const span = Math.min(SPAN, size);
  let basis = orthonormal(Array.from({ length: span }, () => Float64Array.from({ length: size }, normal)));
  const rows = () => np.array(Float32Array.from(basis.flatMap((one) => [...one])), WASM).reshape([span, size]);
  for (let turn = 0; turn < TURNS; turn++) {
    const next = await np.matmul(rows(), covariance.ref).data();
    basis = orthonormal(basis.map((_, i) => Float64Array.from(next.subarray(i * size, (i + 1) * size))));
  }
  const total = (await np.trace(covariance.ref).data())[0];
  const inside = np.matmul(np.matmul(rows(), covariance), rows().transpose());
  const [variance, vectors] = np.linalg.eigh(inside);
  const [least, turned] = [await variance.data(), await np.matmul(vectors.transpose(), rows()).data()];
  const rotation = orthonormal(Array.from({ length: DIRECTIONS }, () => Float64Array.from({ length: DIRECTIONS }, normal)));
  const [axes, parts] = [new Float32Array(size * DIRECTIONS), new Float32Array(Z_DIM * size)];
  for (let n = 0; n < Math.min(DIRECTIONS, span); n++) {
    const row = span - 1 - n; // the smallest is first
    const long = 1 / Math.sqrt(Math.max(0, least[row]) + FLOOR * total + 1e-9);
    for (let p = 0; p < size; p++) {
      const one = turned[row * size + p];
      for (let k = 0; k < DIRECTIONS; k++) {
        axes[p * DIRECTIONS + k] += long * one * rotation[k][n];
        parts[(k + 1) * size + p] += (one * rotation[k][n]) / long;
      }
    }
  }
  return { axes, parts };
}

/** Rows made orthogonal to each other, and of length 1, by Gram and Schmidt, twice. */
function orthonormal(rows) {
  for (const [i, row] of rows.entries()) {
    for (let turn = 0; turn < 2; turn++) {
      for (const known of rows.slice(0, i)) {
        let along = 0;
        for (let d = 0; d < row.length; d++) along += row[d] * known[d];
        for (let d = 0; d < row.length; d++) row[d] -= along * known[d];
      }
      scaled(row, 1);
    }
  }
  return rows;
}

/** Scale a vector, in place, to a length. */
export function scaled(vector, length) {
  let square = 0;
  for (const x of vector) square += x * x;
  const by = length / Math.max(Math.sqrt(square), 1e-12);
  for (let d = 0; d < vector.length; d++) vector[d] *= by;
  return vector;
}

function smallOf({ bytes, count, colours, side }) {
  const ratio = side / SMALL;
  const all = new Float32Array(count * SMALL * SMALL * colours);
  let at = 0;
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < SMALL; y++) for (let x = 0; x < SMALL; x++) for (let c = 0; c < colours; c++) {
      let sum = 0;
      for (let j = 0; j < ratio; j++) for (let k = 0; k < ratio; k++) {
        sum += bytes[((i * side + y * ratio + j) * side + x * ratio + k) * colours + c];
      }
      all[at++] = sum / ratio ** 2 / 127.5 - 1;
    }
  }
  return all;
}
