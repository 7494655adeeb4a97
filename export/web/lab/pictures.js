// Pictures from anywhere to bytes of 32x32: the digits in the page, files, and the camera.

import { SIDE } from "./sizes.js";

export const [LEAST, MOST] = [8, 4000]; // pictures
const DIGIT = 28; // the side of a digit in the page
const [CAMERA_S, CAMERA_FPS] = [20, 10];

/** The digits that the page holds: { bytes, count, colours }. */
export async function digits() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const small = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = small.length / DIGIT ** 2;
  const edge = (SIDE - DIGIT) / 2;
  const bytes = new Uint8Array(count * SIDE * SIDE);
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < DIGIT; y++) {
      const from = (i * DIGIT + y) * DIGIT;
      bytes.set(small.subarray(from, from + DIGIT), (i * SIDE + y + edge) * SIDE + edge);
    }
  }
  return { bytes, count, colours: 1, name: "digits" };
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

/** The middle square of a picture on white, as RGB bytes of 32x32. */
function fitted(image, width, height) {
  const side = Math.min(width, height);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { imageSmoothingQuality: "high", fillStyle: "#fff" });
  context.fillRect(0, 0, SIDE, SIDE);
  context.drawImage(image, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  return context.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 < 3);
}

/** Grey pictures have one channel. */
function together(all, name) {
  if (all.length < LEAST) throw new Error(`${all.length} pictures are too few: choose ${LEAST} or more, better a hundred.`);
  const grey = all.every((one) => one.every((x, i) => x === one[i - (i % 3)]));
  const size = SIDE * SIDE * (grey ? 1 : 3);
  const bytes = new Uint8Array(all.length * size);
  for (const [n, one] of all.entries()) bytes.set(grey ? one.filter((_, i) => i % 3 === 0) : one, n * size);
  return { bytes, count: all.length, colours: grey ? 1 : 3, name };
}

/** Picture `i` of a set as ImageData. */
export function shown({ bytes, colours }, i) {
  const size = SIDE * SIDE;
  const data = new Uint8ClampedArray(size * 4).fill(255);
  for (let p = 0; p < size; p++) {
    for (let c = 0; c < 3; c++) data[4 * p + c] = bytes[(i * size + p) * colours + (colours === 1 ? 0 : c)];
  }
  return new ImageData(data, SIDE, SIDE);
}
