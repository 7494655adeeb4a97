// Codes: the latents of real pictures, from which G learns to paint these again, as in
// vidgan/training/codes.py. They say where a small picture stands on the principal components of all.
//
//     N pictures   P numbers of a small picture   Z z_dim

import { numpy as np } from "@jax-js/jax";
import { Z_DIM } from "./sizes.js";

const SMALL = 16; // the side of a small picture
const MOST = 4000; // pictures from which the components are computed
const FLOOR = 1e-5; // of all variance
const WASM = { device: "wasm" };
const [SPAN, TURNS] = [128, 12]; // directions and turns of the search for the components

/** [B, H, W, C] -> [B, 16, 16, C] by averaging. */
export function small(image) {
  const [batch, height, width, channels] = image.shape;
  return image.reshape([batch, SMALL, height / SMALL, SMALL, width / SMALL, channels]).mean([2, 4]);
}

/** The codes of all pictures, each of length 1: Float32Array of N Z numbers. */
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
  const axes = await components(covariance, size, normal);
  const codes = await np.matmul(x, np.array(axes, WASM).reshape([size, Z_DIM])).data();
  for (let row = 0; row < count; row++) scaled(codes.subarray(row * Z_DIM, (row + 1) * Z_DIM), 1);
  return codes;
}

/** Principal components, each as long as its inverse standard deviation, rotated at random: [P, Z]. */
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
  const rotation = orthonormal(Array.from({ length: Z_DIM }, () => Float64Array.from({ length: Z_DIM }, normal)));
  const axes = new Float32Array(size * Z_DIM);
  for (let n = 0; n < Math.min(Z_DIM, span); n++) {
    const row = span - 1 - n; // the smallest is first
    const long = 1 / Math.sqrt(Math.max(0, least[row]) + FLOOR * total + 1e-9);
    for (let p = 0; p < size; p++) {
      for (let z = 0; z < Z_DIM; z++) axes[p * Z_DIM + z] += long * turned[row * size + p] * rotation[z][n];
    }
  }
  return axes;
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
