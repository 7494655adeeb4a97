// The exported generator in ONNX Runtime: latents in, RGBA pixels out. Calls wait for each other,
// because a session runs one at a time.

/** RGBA with white behind what is transparent, in place: films and canvases of this page are opaque. */
function onWhite(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    if (alpha === 255) continue;
    for (let k = i; k < i + 3; k++) pixels[k] = Math.floor((pixels[k] * alpha + (255 - alpha) * 255 + 127) / 255);
    pixels[i + 3] = 255;
  }
  return pixels;
}

export class Generator {
  #session;
  #ort;
  #turn = Promise.resolve();

  #own;
  #shown = this;

  constructor(ort, session, info, runsOn) {
    this.#ort = ort;
    this.#session = session;
    this.info = this.#own = info;
    this.runsOn = runsOn;
  }

  /** From now on, make the frames of another generator of the same shape, or, with null, its own again. */
  use(other) {
    this.#shown = other ?? this;
    this.info = other ? { ...this.#own, sha256: null } : this.#own; // the walks that are saved name no model then
  }

  static async open(ort, model, info, provider, runsOn) {
    const session = await ort.InferenceSession.create(model, { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3 });
    return new Generator(ort, session, info, runsOn);
  }

  /** One ImageData per latent. A latent is z_dim long and already truncated. A generator of classes
   * also takes the weights of all classes, for each latent. */
  async frames(latents, weights = []) {
    const { z_dim: zDim, width, height, classes } = this.info;
    const z = new Float32Array(latents.length * zDim);
    latents.forEach((latent, row) => z.set(latent, row * zDim));
    const [ort, session] = [this.#shown.#ort, this.#shown.#session];
    const feeds = { z: new ort.Tensor("float32", z, [latents.length, zDim]) };
    if (classes) {
      const rows = new Float32Array(latents.length * classes);
      weights.forEach((of, row) => rows.set(of, row * classes));
      feeds.class_weights = new ort.Tensor("float32", rows, [latents.length, classes]);
    }
    const run = this.#turn.then(() => session.run(feeds));
    this.#turn = run.catch(() => {}); // a failed call must not fail the calls that wait for it
    const { data } = (await run).frames;
    const size = width * height * 4;
    return latents.map((_, row) => {
      const pixels = new Uint8ClampedArray(data.buffer, data.byteOffset + row * size, size);
      return new ImageData(onWhite(pixels.slice()), width, height);
    });
  }

  /** The time for one frame: the best of three, without the first, which compiles. */
  async msPerFrame() {
    const { z_dim: zDim, classes } = this.info;
    const times = [];
    for (let turn = 0; turn < 4; turn++) {
      const since = performance.now();
      await this.frames([new Float32Array(zDim).fill(1)], [new Float32Array(classes).fill(1 / classes)]);
      times.push(performance.now() - since);
    }
    return Math.min(...times.slice(1));
  }

  close() {
    return this.#session.release();
  }

  /** Run the self-test of the model's side file. Returns the largest difference in grey levels. */
  async worstLevel(selfTest) {
    const { inputs, outputs } = selfTest;
    const bytes = (array) => Uint8Array.from(atob(array.base64), (c) => c.charCodeAt(0));
    const rows = inputs.z.shape[0];
    const rowsOf = (array) => {
      const numbers = new Float32Array(bytes(array).buffer);
      return Array.from({ length: rows }, (_, row) => numbers.subarray(row * array.shape[1], (row + 1) * array.shape[1]));
    };
    const z = rowsOf(inputs.z);
    const weights = inputs.class_weights && rowsOf(inputs.class_weights);
    const expected = onWhite(bytes(outputs.frames));
    let worst = 0;
    for (let row = 0; row < rows; row++) {
      const [picture] = await this.frames([z[row]], weights && [weights[row]]);
      const start = row * picture.data.length;
      picture.data.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - expected[start + i]))));
    }
    return worst;
  }
}
