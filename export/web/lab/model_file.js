// A generator as the file of weights that vidgan reads and writes: vidgan/generator/checkpoint.py.

import { SOURCE } from "../src/mark.js";
import { SMALL, Z_DIM } from "./sizes.js";

const UNSET = "0".repeat(64); // stands in the place of the checksum while it is computed

/** The bytes of generator.safetensors. */
export async function modelFile(generator, facts, version) {
  const tensors = await named(generator);
  const meta = { kind: "generator", model: modelOf(generator, 3), facts, format_version: 5, vidgan_version: version };
  const header = { __metadata__: { vidgan: JSON.stringify(meta), file_sha256: UNSET, digital_source_type: SOURCE } };
  let end = 0;
  for (const [name, { dtype, shape, values }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, (end += values.byteLength)] };
  }
  const text = JSON.stringify(header);
  const head = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const content = new Uint8Array(8 + head.length + end);
  new DataView(content.buffer).setBigUint64(0, BigInt(head.length), true);
  content.set(head, 8);
  let at = 8 + head.length;
  for (const [, { values }] of tensors) {
    content.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  content.set(new TextEncoder().encode(await sha256(content)), 8 + text.indexOf(`"file_sha256":"${UNSET}"`) + '"file_sha256":"'.length);
  return content;
}

/** What vidgan calls the model: the architecture, and its sizes. A kernel that doubles has 3 taps, or as 4 folded ones. */
export const modelOf = ({ side, channels, colours, measured }, taps) => ({
  name: "dcgan", width: side, height: side, z_dim: Z_DIM, channels, colours, anchors: measured.anchors.length / Z_DIM, taps,
  noise: true, layout: true,
});

export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Every tensor of the file as [name, { dtype, shape, values }], the whole numbers first. */
export async function named({ g, statistics, measured, colours }) {
  const floats = (shape, values) => ({ dtype: "F32", shape, values });
  const counts = [];
  // Here kernels and pictures have their channels last, in torch they come first.
  const [pixels, { anchors, mean, parts, contrast }] = [SMALL ** 2, measured];
  const all = [
    ["anchors", floats([anchors.length / Z_DIM, Z_DIM], anchors)],
    ["layout.mean", floats([mean.length], moved(mean, [1, pixels, colours], [0, 2, 1]))],
    ["layout.parts", floats([Z_DIM, mean.length], moved(parts, [Z_DIM, pixels, colours], [0, 2, 1]))],
    ["layout.contrast", floats([2], contrast)],
  ];
  for (const [n, strength] of g.strengths.entries()) {
    all.push([`noise.${n + 1}.strength`, floats([...strength.shape, 1, 1], await strength.ref.data())]);
  }
  const first = await g.first.ref.data();
  const width = g.first.shape[1] / 16;
  all.push(["layers.0.weight", floats([Z_DIM, width, 4, 4], moved(first, [Z_DIM, 16, width], [0, 2, 1]))]);
  for (const [stage, { gain, bias }] of g.norms.entries()) {
    const [wide, name] = [gain.shape, `layers.${3 * stage + 1}`];
    const [mean, variance] = statistics[stage];
    const of = { weight: await gain.ref.data(), bias: await bias.ref.data(), running_mean: mean, running_var: variance };
    for (const [key, values] of Object.entries(of)) all.push([`${name}.${key}`, floats(wide, values)]);
    counts.push([`${name}.num_batches_tracked`, { dtype: "I64", shape: [], values: BigInt64Array.of(16n) }]);
    const kernel = g.doubles[stage];
    const [, , from, to] = kernel.shape;
    const values = moved(await kernel.ref.data(), [9, from, to], [1, 2, 0]);
    all.push([`layers.${3 * stage + 3}.weight`, floats([from, to, 3, 3], values)]);
  }
  all.push([`layers.${3 * g.norms.length}.bias`, floats(g.bias.shape, await g.bias.ref.data())]);
  return [...counts, ...all];
}

/** Numbers of three axes in another order of the axes. */
export function moved(values, shape, order) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [a, b, c] = order.map((axis) => shape[axis]);
  const [sa, sb, sc] = order.map((axis) => strides[axis]);
  const result = new Float32Array(values.length);
  let at = 0;
  for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) result[at++] = values[i * sa + j * sb + k * sc];
  return result;
}
