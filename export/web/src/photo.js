// A photograph, dropped, pasted or chosen, becomes a latent: the encoder of the generator, in ONNX
// Runtime, answers it at once. `vidgan invert` goes on from such an answer, and comes closer.

export class Encoder {
  #session;
  #ort;

  constructor(ort, session, info) {
    this.#ort = ort;
    this.#session = session;
    this.info = info;
  }

  static async open(ort, model, info) {
    return new Encoder(ort, await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 }), info);
  }

  /** The latent of a picture of the generator's size, as ImageData, and the class that it shows, if there are any. */
  async answer({ data }) {
    const { z_dim: zDim, width, height, classes } = this.info;
    const pixels = data.filter((_, i) => i % 4 < 3);
    const frames = new this.#ort.Tensor("uint8", new Uint8Array(pixels), [1, height, width, 3]);
    const row = (await this.#session.run({ frames })).rows.data;
    const weights = Array.from(row.subarray(zDim));
    return { latent: Float32Array.from(row.subarray(0, zDim)), label: classes ? weights.indexOf(Math.max(...weights)) : null };
  }
}

/** A picture's file, cropped about its centre and resized as in training: an ImageData on white. */
export async function fitted(file, { width, height }) {
  const whole = await createImageBitmap(file); // upright, as its EXIF says
  const scale = Math.min(whole.width / width, whole.height / height);
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const crop = [Math.floor((whole.width - w) / 2), Math.floor((whole.height - h) / 2), w, h];
  const small = await createImageBitmap(whole, ...crop, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(small, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/**
 * Take photographs on the page. `found(answer, picture)` is called with what the encoder says of one;
 * `failed(text)` with why there is none. `encoder()` opens it when it is first needed.
 */
export function takePhotos(group, encoder, info, { found, failed }) {
  const chooser = group.querySelector("input");
  let opened;
  const take = async (file) => {
    let picture;
    try {
      picture = await fitted(file, info);
    } catch {
      return failed(`${file.name || "This"} cannot be read as a picture.`);
    }
    try {
      opened ??= encoder();
      found(await (await opened).answer(picture), picture);
      const canvas = group.querySelector("canvas");
      Object.assign(canvas, { width: info.width, height: info.height, hidden: false });
      canvas.getContext("2d").putImageData(picture, 0, 0);
    } catch (error) {
      opened = null;
      failed(`The encoder failed: ${error.message ?? error}`);
    }
  };
  group.hidden = false;
  group.querySelector("button").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const [file] = chooser.files;
    chooser.value = "";
    if (file) take(file);
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  return take;
}
