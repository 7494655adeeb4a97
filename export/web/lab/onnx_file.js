// A generator as the ONNX file that `vidgan export` writes: the contract of export/README.md. Frames
// of the page itself are its self-test, so that `vidgan verify` compares ONNX Runtime with the page.
//
//     B batch   Z z_dim   A anchors   H W pixels

import { gaussian } from "../src/latents.js";
import { SOURCE } from "../src/mark.js";
import { joined } from "../src/pictures.js";
import { modelFile, modelOf, named, sha256 } from "./model_file.js";
import { EPS, OWN, SHARPNESS } from "./net.js";
import { Z_DIM } from "./sizes.js";

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
  const one = (name, value) => put(name, [], Float32Array.of(value));

  // Latents drawn to the anchors, as `drawn` in net.js does.
  const along = put("along", [1], BigInt64Array.of(1n));
  const least = one("least", 1e-6);
  const lengthOf = (x) => {
    add("Mul", [x, x], `${x}_square`);
    add("ReduceSum", [`${x}_square`, along], `${x}_sum`, { keepdims: 1 });
    add("Sqrt", [`${x}_sum`], `${x}_root`);
    return add("Add", [`${x}_root`, least], `${x}_length`);
  };
  const anchors = put("anchors", weights.get("anchors").shape, weights.get("anchors").values);
  add("Div", ["z", lengthOf("z")], "own");
  add("Transpose", [anchors], "anchors_across", { perm: [1, 0] });
  add("MatMul", ["own", "anchors_across"], "alike");
  add("Mul", ["alike", one("sharpness", SHARPNESS * Math.sqrt(Z_DIM))], "sharp");
  add("Softmax", ["sharp"], "share", { axis: 1 });
  add("MatMul", ["share", anchors], "mean");
  add("Div", ["mean", lengthOf("mean")], "common");
  add("Mul", ["common", one("of_common", Math.sqrt(1 - OWN ** 2))], "common_part");
  add("Mul", ["own", one("of_own", OWN)], "own_part");
  add("Add", ["common_part", "own_part"], "both");
  add("Mul", ["both", "z_length"], "long");
  add("Div", ["long", lengthOf("both")], "drawn");
  let x = add("Reshape", ["drawn", put("tall", [4], BigInt64Array.from([-1n, BigInt(Z_DIM), 1n, 1n]))], "x");

  // The layers. A BatchNorm is part of the kernel before it.
  const layers = [...weights.keys()].filter((name) => weights.get(name).shape.length === 4).map((name) => Number(name.split(".")[1]));
  for (const number of layers) {
    const first = number === 0;
    const { shape, values, bias } = folded(weights, number);
    const kernel = put(`layers.${number}.weight`, shape, values);
    const taps = shape[2];
    x = add("ConvTranspose", [x, kernel, put(`layers.${number}.bias`, [shape[1]], bias)], `layers.${number}`, {
      dilations: [1, 1], group: 1, kernel_shape: [taps, taps], pads: first ? [0, 0, 0, 0] : [1, 1, 1, 1], strides: first ? [1, 1] : [2, 2],
    });
    x = add(number === layers.at(-1) ? "Tanh" : "Relu", [x], `${x}_act`);
  }
  if (weights.get(`layers.${layers.at(-1)}.bias`).shape[0] === 1) x = add("Concat", [x, x, x], "rgb", { axis: 1 });

  // Pixels. Halves round to even, and Clip comes before Cast, which is undefined beyond 255.
  const half = one("half", 127.5);
  add("Mul", [x, half], "scaled");
  add("Add", ["scaled", half], "shifted");
  add("Round", ["shifted"], "whole");
  add("Clip", ["whole", one("black", 0), one("white", 255)], "levels");
  add("Transpose", ["levels"], "across", { perm: [0, 2, 3, 1] });
  add("Cast", ["across"], "frames", { to: UINT8 });
  return message(
    ...nodes.map((one) => [1, one]), [2, "net"], ...constants.map((one) => [5, one]),
    [11, place("z", FLOAT, [Z_DIM])], [12, place("frames", UINT8, [side, side, 3])],
  );
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
