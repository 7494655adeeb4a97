// Shared by the JavaScript runtimes: it runs the golden inputs. It works in Node and in a browser.

const KINDS = { float32: Float32Array, int32: Int32Array };

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const textOf = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));

/** Run the golden inputs in sessions opened by `open(case)`. The speed is that of the first case. */
export async function proved(ort, version, golden, seconds, cases, open) {
  const frames = {};
  let framesPerS;
  for (const name of cases) {
    const session = await open(name);
    const feed = {}, one = {};
    for (const [input, { type, shape, base64 }] of Object.entries(golden[name])) {
      const values = new KINDS[type](bytesOf(base64).buffer);
      feed[input] = new ort.Tensor(type, values, shape);
      one[input] = new ort.Tensor(type, values.slice(0, values.length / shape[0]), [1, ...shape.slice(1)]);
    }
    frames[name] = textOf((await session.run(feed)).frames.data);
    if (seconds > 0) framesPerS ??= await speed(session, one, seconds);
  }
  return { version, frames_per_s: framesPerS, frames };
}

/** Frames per second of the quickest frame, which a busy machine disturbs least. */
async function speed(session, one, seconds) {
  await session.run(one);
  const end = performance.now() + 1000 * seconds;
  let quickest = Infinity;
  while (quickest === Infinity || performance.now() < end) {
    const start = performance.now();
    await session.run(one);
    quickest = Math.min(quickest, performance.now() - start);
  }
  return 1000 / quickest;
}
