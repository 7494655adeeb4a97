// What a test asks of the networks of the lab, in the browser: losses and gradients of one batch.

import { defaultDevice, init, jit, numpy as np, tree } from "@jax-js/jax";
import { knownOf, told } from "../../export/web/lab/net.js";
import { augmentation, gradients, toFloat } from "../../export/web/lab/trainer.js";

const array = ({ shape, values }) => np.array(Float32Array.from(values)).reshape(shape);
const arrays = (given) => (given.shape ? array(given) : Array.isArray(given) ? given.map(arrays) : Object.fromEntries(Object.entries(given).map(([key, one]) => [key, arrays(one)])));

async function size(weights) {
  let square = 0;
  for (const one of tree.leaves(weights)) for (const x of await one.data()) square += x * x;
  return Math.sqrt(square);
}

globalThis.losses = async ({ g, d, real, codes, z, measured, draws, losses }) => {
  await init("wasm");
  defaultDevice("wasm");
  const [onReal, onFake] = draws.map((one) => () => {
    const left = [...one];
    return augmentation(real.shape[0], real.shape[1], () => left.shift());
  });
  const numbers = Object.fromEntries(Object.entries(measured).map(([key, { values }]) => [key, Float32Array.from(values)]));
  const found = {};
  for (const loss of losses) {
    const seen = told(array(z), knownOf(numbers, real.shape[1]), array(codes));
    const batch = { real: toFloat(real.values, real.shape), seen, onReal: onReal(), onFake: onFake() };
    const of = jit((g, d, batch) => gradients(g, d, batch, { loss, codes: 10 }))(arrays(g), arrays(d), batch);
    found[loss] = [
      (await of.lossD.data())[0], (await of.lossG.data())[0], await size(of.gradientD), await size(of.gradientG),
    ];
  }
  return found;
};
