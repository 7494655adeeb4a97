// Pictures from anywhere to bytes: the digits in the page, files, and the camera. A set is { bytes,
// count, colours, side, name }.

import { SIDES } from "./sizes.js";

export const [LEAST, MOST] = [8, 4000]; // pictures
const DIGIT = 28; // the side of a digit in the page
const [SMALL, LARGE] = SIDES;
const [CAMERA_S, CAMERA_FPS] = [20, 10];

/** The digits that the page holds. */
export async function digits() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const small = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = small.length / DIGIT ** 2;
  const edge = (SMALL - DIGIT) / 2;
  const bytes = new Uint8Array(count * SMALL ** 2);
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < DIGIT; y++) {
      const from = (i * DIGIT + y) * DIGIT;
      bytes.set(small.subarray(from, from + DIGIT), (i * SMALL + y + edge) * SMALL + edge);
    }
  }
  return { bytes, count, colours: 1, side: SMALL, name: "digits" };
}

/** Of files: those that the browser can read. `onProgress` gets how many are read. */
export async function fromFiles(files, onProgress) {
  const all = [];
  for (const file of files.slice(0, MOST)) {
    const image = await createImageBitmap(file).catch(() => null);
    if (image) all.push(fitted(image, image.width, image.height));
    image?.close();
    onProgress(all.length);
  }
  return together(all, "pictures");
}

/** Twenty seconds of the camera. `onFrame` gets the share of the time that is over. */
export async function fromCamera(onFrame) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true });
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  const all = [];
  try {
    await video.play();
    for (let n = 0; n < CAMERA_S * CAMERA_FPS; n++) {
      await new Promise((done) => setTimeout(done, 1000 / CAMERA_FPS));
      all.push(fitted(video, video.videoWidth, video.videoHeight));
      onFrame((n + 1) / (CAMERA_S * CAMERA_FPS));
    }
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
  return together(all, "camera");
}

/** The middle square of a picture on white, as RGB bytes of the larger size. */
function fitted(image, width, height) {
  const side = Math.min(width, height);
  const canvas = new OffscreenCanvas(LARGE, LARGE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { imageSmoothingQuality: "high", fillStyle: "#fff" });
  context.fillRect(0, 0, LARGE, LARGE);
  context.drawImage(image, (width - side) / 2, (height - side) / 2, side, side, 0, 0, LARGE, LARGE);
  return context.getImageData(0, 0, LARGE, LARGE).data.filter((_, i) => i % 4 < 3);
}

/** Grey pictures have one channel. */
function together(all, name) {
  if (all.length < LEAST) throw new Error(`${all.length} pictures are too few: choose ${LEAST} or more, better a hundred.`);
  const grey = all.every((one) => one.every((x, i) => x === one[i - (i % 3)]));
  const size = LARGE ** 2 * (grey ? 1 : 3);
  const bytes = new Uint8Array(all.length * size);
  for (const [n, one] of all.entries()) bytes.set(grey ? one.filter((_, i) => i % 3 === 0) : one, n * size);
  return { bytes, count: all.length, colours: grey ? 1 : 3, side: LARGE, name };
}

/** A set at one of the two sizes: halved by averaging, or doubled smoothly. */
export function sized(pictures, side) {
  const { bytes, count, colours, side: from } = pictures;
  if (side === from) return pictures;
  const out = new Uint8Array(count * side * side * colours);
  // Each pixel is a mean of two by two: neighbours, or for a larger picture those nearest to it, 9:3:3:1.
  const places = Array.from({ length: side }, (_, n) => {
    if (side < from) return [2 * n, 2 * n + 1, 0.5];
    const near = n >> 1;
    return [near, Math.min(from - 1, Math.max(0, near + (n % 2 ? 1 : -1))), 0.25];
  });
  const level = (row, x) => bytes[row + x[0] * colours] * (1 - x[2]) + bytes[row + x[1] * colours] * x[2];
  let at = 0;
  for (let i = 0; i < count; i++) for (const y of places) {
    const [top, bottom] = [(i * from + y[0]) * from * colours, (i * from + y[1]) * from * colours];
    for (const x of places) for (let k = 0; k < colours; k++) {
      out[at++] = Math.round(level(top + k, x) * (1 - y[2]) + level(bottom + k, x) * y[2]);
    }
  }
  return { ...pictures, bytes: out, side };
}

/** Picture `i` of a set as ImageData. */
export function shown({ bytes, colours, side }, i) {
  const size = side * side;
  const data = new Uint8ClampedArray(size * 4).fill(255);
  for (let p = 0; p < size; p++) {
    for (let c = 0; c < 3; c++) data[4 * p + c] = bytes[(i * size + p) * colours + (colours === 1 ? 0 : c)];
  }
  return new ImageData(data, side, side);
}
