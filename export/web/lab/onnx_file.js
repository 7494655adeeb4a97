// A generator as the ONNX file that `vidgan export` writes: the contract of export/README.md. Frames
// of the page itself are its self-test, so that `vidgan verify` compares ONNX Runtime with the page.
//
//     B batch   Z z_dim   A anchors   H W pixels

import { gaussian } from "../src/latents.js";
import { SOURCE } from "../src/mark.js";
import { joined } from "../src/pictures.js";
import { modelFile, modelOf, moved, named, sha256 } from "./model_file.js";
import { BENEATH, EPS, NOISE_FROM, OWN, SHARPNESS, STAGE, enlarging, field, noiseSides } from "./net.js";
import { SMALL, Z_DIM } from "./sizes.js";

const [OPSET, IR] = [18, 10];
const [FLOAT, UINT8, INT64] = [1, 2, 7]; // kinds of numbers in ONNX
const [INT, INTS] = [2, 7]; // kinds of attributes
const SEED = "Threefry-2x32-20 + Box-Muller: key = seed, counter = (pair, index)";
const PROVED = [0, 1, 2]; // latents of seed 0 that the self-test has

/** The bytes of generator.onnx. */
export async function onnxFile(generator, facts, version) {
  const { side } = generator;
  const meta = {
    contract: "vidgan-generator-1", z_dim: Z_DIM, width: side, height: side, classes: 0, model: modelOf(generator, 4), facts,
    generator_sha256: await sha256(await modelFile(generator, facts, version)),
    seed: SEED, digital_source_type: SOURCE, vidgan_version: version, output: "frames", layout: "rgb", weights: "fp32",
    self_test: await selfTest(generator),
  };
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return message(
    [1, IR], [2, "vidgan"], [3, version], [7, graph(generator, new Map(await named(generator)))],
    [8, message([1, ""], [2, OPSET])],
    ...Object.entries(meta).map(([key, value]) => [14, message([1, key], [2, text(value)])]),
  );
}

function graph({ side }, weights) {
  const [nodes, constants] = [[], []];
  const put = (name, shape, values) => (constants.push(tensor(name, shape, values)), name);
  const add = (operator, inputs, output, attributes = {}) => (nodes.push(node(operator, inputs, output, attributes)), output);
  const to = { put, add, one: (name, value) => put(name, [], Float32Array.of(value)) };
  to.along = put("along", [1], BigInt64Array.of(1n));
  to.start = put("start", [1], BigInt64Array.of(0n));
  const least = to.one("least", 1e-6);
  to.lengthOf = (x) => {
    add("Mul", [x, x], `${x}_square`);
    add("ReduceSum", [`${x}_square`, to.along], `${x}_sum`, { keepdims: 1 });
    add("Sqrt", [`${x}_sum`], `${x}_root`);
    return add("Add", [`${x}_root`, least], `${x}_length`);
  };
  to.reshape = (x, shape, output) => add("Reshape", [x, put(`${output}_shape`, [4], BigInt64Array.from(shape, BigInt))], output);
  const noise = noiseNodes(to, side);
  drawnNodes(to, weights.get("anchors"));
  const layout = layoutNodes(to, side, weights);
  const image = layerNodes(to, weights, noise, layout);
  // Pixels. Halves round to even, and Clip comes before Cast, which is undefined beyond 255.
  const half = to.one("half", 127.5);
  add("Mul", [image, half], "scaled");
  add("Add", ["scaled", half], "shifted");
  add("Round", ["shifted"], "whole");
  add("Clip", ["whole", to.one("black", 0), to.one("white", 255)], "levels");
  add("Transpose", ["levels"], "across", { perm: [0, 2, 3, 1] });
  add("Cast", ["across"], "frames", { to: UINT8 });
  return message(
    ...nodes.map((one) => [1, one]), [2, "net"], ...constants.map((one) => [5, one]),
    [11, place("z", FLOAT, [Z_DIM])], [12, place("frames", UINT8, [side, side, 3])],
  );
}

/** The noise of each stage but the first, as `told` in net.js has it. */
function noiseNodes({ put, add, one, along, start, lengthOf, reshape }, side) {
  add("Slice", ["z", start, put("few", [1], BigInt64Array.of(BigInt(NOISE_FROM))), along, along], "some");
  const scale = one("noise_scale", Math.sqrt(Z_DIM / NOISE_FROM));
  return noiseSides(side).map((h, n) => {
    const name = `noise.${n + 1}`;
    add("MatMul", ["some", put(`${name}.fields`, [NOISE_FROM, h * h], field(n + 1, h))], `${name}.mixed`);
    add("Mul", [`${name}.mixed`, scale], `${name}.scaled`);
    add("Div", [`${name}.scaled`, n ? "z_length" : lengthOf("z")], `${name}.flat`);
    return reshape(`${name}.flat`, [-1, 1, h, h], name);
  });
}

/** Latents drawn to the anchors, and these anchors, `near`. */
function drawnNodes({ put, add, one, lengthOf, reshape }, { shape: [count], values }) {
  const anchors = put("anchors", [count, Z_DIM], values);
  add("Div", ["z", "z_length"], "own");
  add("Transpose", [anchors], "anchors_across", { perm: [1, 0] });
  add("MatMul", ["own", "anchors_across"], "alike");
  add("Mul", ["alike", one("sharpness", SHARPNESS * Math.sqrt(Z_DIM))], "sharp");
  add("Softmax", ["sharp"], "share", { axis: 1 });
  add("MatMul", ["share", anchors], "mean");
  add("Div", ["mean", lengthOf("mean")], "near");
  add("Mul", ["near", one("of_common", Math.sqrt(1 - OWN ** 2))], "common_part");
  add("Mul", ["own", one("of_own", OWN)], "own_part");
  add("Add", ["common_part", "own_part"], "both");
  add("Mul", ["both", "z_length"], "long");
  add("Div", ["long", lengthOf("both")], "drawn");
}

/** The layout that `near` says, small and enlarged. */
function layoutNodes({ put, add, one, along, start, lengthOf, reshape }, side, weights) {
  const of = (name) => weights.get(`layout.${name}`);
  const [middle, deviation] = of("contrast").values;
  const size = of("mean").shape[0];
  lengthOf("near");
  add("Slice", ["near", start, along, along, along], "first");
  add("Mul", [one("deviation", deviation * Math.sqrt(Z_DIM)), "first"], "first_deviation");
  add("Div", ["first_deviation", "near_length"], "far");
  add("Add", [one("middle", middle), "far"], "root");
  add("MatMul", ["near", put("layout.parts", [Z_DIM, size], of("parts").values)], "parts");
  add("Mul", ["near", put("layout.others", [Z_DIM], Float32Array.from({ length: Z_DIM }, (_, n) => n && 1))], "others");
  add("Div", ["parts", lengthOf("others")], "part");
  add("Mul", ["root", "root"], "scale");
  add("Mul", ["scale", "part"], "away");
  add("Add", [put("layout.mean", [size], of("mean").values), "away"], "small_flat");
  reshape("small_flat", [-1, size / SMALL ** 2, SMALL, SMALL], "small");
  return [SMALL, side].map((h, n) => {
    const wide = enlarging(h); // [16, H]
    const tall = put(`tall.${n}`, [h, SMALL], moved(wide, [1, SMALL, h], [0, 2, 1]));
    add("MatMul", [tall, "small"], `layout.${n}.tall`);
    return add("MatMul", [`layout.${n}.tall`, put(`wide.${n}`, [SMALL, h], wide)], `layout.${n}`);
  });
}

/** The layers, from `drawn` to the image. A BatchNorm is part of the kernel before it. */
function layerNodes({ put, add, one, reshape }, weights, noise, layout) {
  let x = reshape("drawn", [-1, Z_DIM, 1, 1], "x");
  const layers = [...weights.keys()].filter((name) => weights.get(name).shape.length === 4).map((name) => Number(name.split(".")[1]));
  for (const [n, number] of layers.entries()) { // layer n makes the maps of stage n
    const [first, last] = [n === 0, n === layers.length - 1];
    if (n === STAGE + 1) x = add("Concat", [x, layout[0]], "told", { axis: 1 });
    const { shape, values, bias } = folded(weights, number);
    const kernel = put(`layers.${number}.weight`, shape, values);
    const taps = shape[2];
    x = add("ConvTranspose", [x, kernel, put(`layers.${number}.bias`, [shape[1]], bias)], `layers.${number}`, {
      dilations: [1, 1], group: 1, kernel_shape: [taps, taps], pads: first ? [0, 0, 0, 0] : [1, 1, 1, 1], strides: first ? [1, 1] : [2, 2],
    });
    if (!first) {
      const strength = weights.get(`noise.${n}.strength`);
      const added = last ? [layout[1], one("beneath", BENEATH)] : [put(`noise.${n}.strength`, strength.shape, strength.values), noise[n - 1]];
      x = add("Add", [x, add("Mul", added, `${x}_added`)], `${x}_sum`);
    }
    x = add(last ? "Tanh" : "Relu", [x], `${x}_act`);
  }
  if (weights.get(`layers.${layers.at(-1)}.bias`).shape[0] === 1) x = add("Concat", [x, x, x], "rgb", { axis: 1 });
  return x;
}

/** A kernel [C, O, K, K] and its bias, with the BatchNorm behind it and, if it doubles, as 4x4 taps. */
function folded(weights, number) {
  const { shape: [from, to, taps], values } = weights.get(`layers.${number}.weight`);
  const of = (key) => weights.get(`layers.${number + 1}.${key}`)?.values;
  const last = !of("weight");
  const scale = Float64Array.from({ length: to }, (_, o) => (last ? 1 : of("weight")[o] / Math.sqrt(of("running_var")[o] + EPS)));
  const bias = Float32Array.from(scale, (by, o) => (last ? weights.get(`layers.${number}.bias`).values[o] : of("bias")[o] - of("running_mean")[o] * by));
  const spread = taps === 3 ? [[0, 0], [0, 1], [1, 0], [1, 1]] : [[0, 0]]; // how `dcgan.Doubling` moves its taps
  const wide = taps === 3 ? 4 : taps;
  const all = new Float64Array(from * to * wide * wide);
  for (let plane = 0; plane < from * to; plane++) {
    for (const [down, right] of spread) for (let i = 0; i < taps; i++) for (let j = 0; j < taps; j++) {
      all[(plane * wide + i + down) * wide + j + right] += values[(plane * taps + i) * taps + j] * scale[plane % to];
    }
  }
  return { shape: [from, to, wide, wide], values: Float32Array.from(all), bias };
}

async function selfTest(generator) {
  const z = PROVED.map((index) => gaussian(0, index, Z_DIM));
  const { colours, side } = generator;
  const bytes = await generator.frames(z);
  const rgb = Uint8Array.from({ length: (bytes.length / colours) * 3 }, (_, i) => bytes[colours === 3 ? i : Math.floor(i / 3)]);
  return {
    inputs: { z: await packed("float32", [z.length, Z_DIM], Float32Array.from(z.flatMap((one) => [...one]))) },
    outputs: { frames: await packed("uint8", [z.length, side, side, 3], rgb) },
    max_level: 1, max_differing: 0.001,
  };
}

async function packed(type, shape, values) {
  const bytes = bytesOf(values);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return { type, shape, base64: btoa(text), sha256: await sha256(bytes) };
}

// The messages of onnx.proto. Its numbers of fields stand before the values.

const node = (operator, inputs, output, attributes) => message(
  ...inputs.map((name) => [1, name]), [2, output], [3, `node_${output}`], [4, operator],
  ...Object.entries(attributes).map(([name, value]) => [5, message([1, name], ...(Array.isArray(value) ? [...value.map((x) => [8, x]), [20, INTS]] : [[3, value], [20, INT]]))]),
);

const tensor = (name, shape, values) => message(
  ...shape.map((size) => [1, size]), [2, values instanceof BigInt64Array ? INT64 : FLOAT], [8, name], [9, bytesOf(values)]);

/** An input or output [batch, ...shape]. */
const place = (name, kind, shape) => message(
  [1, name], [2, message([1, message([1, kind], [2, message([1, message([2, "batch"])], ...shape.map((size) => [1, message([1, size])]))])])]);

const bytesOf = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A message of protocol buffers. A field is [number, value]: a whole number, a text, or bytes. */
function message(...fields) {
  return joined(...fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [varint(8 * number), varint(value)];
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    return [varint(8 * number + 2), varint(bytes.length), bytes];
  }));
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(128 + (value % 128));
  return Uint8Array.from([...bytes, value]);
}
