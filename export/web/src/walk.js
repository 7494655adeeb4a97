// A walk as text, in two forms: the JSON file that `vidgan render --walk` and this page both read
// and write, and the part of the page's address behind the "#".
//
// In memory a keyframe is {seed, index} or {latent: Float32Array}. The seed is a string of digits,
// because a seed has 64 bits and a JavaScript number holds only 53 of them.

import { ALWAYS_CLOSED, EASES, PATHS, THROUGH_KEYFRAMES, away, centreOf, classWeights, gaussian, moved, route, truncated } from "./latents.js";

export const FRAMES_PER_KEYFRAME = 30;
export const FORMAT = "vidgan-walk-2";
const WITH_DIRECTIONS = "vidgan-walk-3";
const MOST_STRENGTH = 1000;
const MOST_KEYFRAMES = 1000; // on the page, which shows each
// The keys of a file that vidgan reads, and what they are where it leaves them out.
export const USUAL = {
  format: FORMAT, model: null, z_dim: null,
  path: "loop", closed: true, seed: 0, keyframes: null, frames: 120, fps: "30", hold: 0, ease: "linear", truncation: 1,
  labels: null, grid: null, constant_speed: false, audio: null, positions: null, gain: null,
  audio_part: null, audio_follow: null, audio_strength: 1, audio_smoothing: 0.25, fade: 0, generator: null, directions: null,
  motion: null, speed: 1, reverse: false,
};
// The page plays only these values. It refuses a walk that asks for others, so that no film is wrong.
const ONLY = { grid: null, constant_speed: false, audio: null, positions: null, gain: null, motion: null };

export const latentOf = (keyframe, zDim) => keyframe.latent ?? gaussian(keyframe.seed, keyframe.index, zDim);

export function keyframesOf(seed, count) {
  return Array.from({ length: count }, (_, index) => ({ seed: String(seed), index }));
}

/** The keyframes of another seed, among those that a person kept: these stay where they are. */
export function sown(keyframes, seed) {
  const own = keyframes.filter((k) => !k.latent).length;
  if (own === keyframes.length) return keyframesOf(seed, Math.max(3, own));
  const fresh = keyframesOf(seed, Math.max(1, own));
  return own ? keyframes.map((k) => (k.latent ? k : fresh.shift())) : [...keyframes, ...fresh];
}

/** A typed seed as a string of digits, or null if it is not a whole number below 2^64. */
export function checkedSeed(text) {
  const digits = text.trim();
  return /^\d{1,20}$/.test(digits) && BigInt(digits) < 2n ** 64n ? String(BigInt(digits)) : null;
}

export function framesOf(walk) {
  const segments = walk.closed ? walk.keyframes.length : walk.keyframes.length - 1;
  return Math.max(1, Math.round((segments * FRAMES_PER_KEYFRAME) / walk.speed));
}

/**
 * Where a walk leads, as functions of t, which is from 0 to 1 over the film. They follow every change
 * of the walk's truncation, labels and speed, but not of its keyframes and path: those need a new course.
 */
export function course(walk, info) {
  const { keyframes, closed, seed } = walk;
  const curve = route(walk, keyframes.length, (i) => latentOf(keyframes[i], info.z_dim));
  const centre = centreOf(seed, info.z_dim);
  const segments = closed ? keyframes.length : keyframes.length - 1;
  const of = {
    segments,
    along: (t) => curve(t * segments), // before truncation and directions
    near: (z, t, gain = 1) => moved(truncated(z, centre, away(walk.truncation) * gain), walk.directions, t, closed),
    weights: (t) => classWeights(walk.labels, info.classes, t, closed),
    time: (i, frames = framesOf(walk)) => (closed ? i / frames : i / Math.max(frames - 1, 1)), // of frame i
    latent: (i, frames) => ((t) => of.near(of.along(t), t))(of.time(i, frames)),
  };
  return of;
}

/** The walk as the text of a JSON file. A picture of a mixture of classes says so, which no walk does. */
export function toJson(walk, info, mix) {
  // `vidgan render` takes exactly two keyframes for a circle. Noise keeps all: their number sets its pace.
  const turned = walk.path === "circle" ? walk.keyframes.slice(0, 2) : walk.keyframes;
  const keyframes = turned.map((k) =>
    k.latent ? { latent: Array.from(k.latent) } : { seed: `#${k.seed}`, index: k.index },
  );
  const content = {
    format: walk.directions.length ? WITH_DIRECTIONS : FORMAT,
    model: info.sha256,
    z_dim: info.z_dim,
    path: walk.path,
    closed: walk.closed,
    seed: `#${walk.seed}`,
    keyframes,
    frames: framesOf(walk),
    fps: "30",
    hold: walk.hold,
    ease: walk.ease,
    truncation: walk.truncation,
    ...(mix ? { class_weights: Array.from(mix) } : info.classes ? { labels: walk.labels } : {}),
    ...(walk.directions.length ? { directions: walk.directions } : {}),
  };
  return JSON.stringify(content).replace(/"#(\d+)"/g, "$1"); // seeds become numbers of up to 20 digits
}

/** Round to the nearest whole number, and halves to the even one, as Python does. */
function evenly(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/**
 * All keys of a walk's JSON file, checked, with those that it leaves out. The seed is a string of digits.
 * Keyframes are a list, or the number of them that are of the seed. Throws an Error of one line.
 */
export function parsed(text, zDim) {
  let content;
  try {
    content = JSON.parse(text.replace(/("seed"\s*:\s*)(\d+)/g, '$1"$2"'));
  } catch {
    throw new Error("This file is not JSON, so it is not a walk.");
  }
  if (content?.format === "vidgan-walk-4") throw new Error("The walk plays a motion. vidgan render --walk plays it.");
  const directions = content?.directions ?? [];
  if (content?.format !== (directions.length ? WITH_DIRECTIONS : FORMAT)) throw new Error(`This file is not a walk of vidgan (${FORMAT}, or with directions ${WITH_DIRECTIONS}).`);
  if (content.z_dim !== zDim) throw new Error(`The walk's latents have ${content.z_dim} numbers, this generator takes ${zDim}.`);
  const unknown = Object.keys(content).find((key) => !Object.hasOwn(USUAL, key));
  if (unknown) throw new Error(`The walk has a key ${JSON.stringify(unknown)}, which vidgan does not know.`);
  const { path, closed, hold, ease, frames } = (content = { ...USUAL, ...content });
  const seed = checkedSeed(String(content.seed));
  const given = content.keyframes ?? usualCount(path, closed, frames);
  if (seed === null || !(Number.isInteger(frames) && frames >= 1)) {
    throw new Error("The walk's seed or frames is not a whole number, or is too small.");
  }
  const shares = (list) => Array.isArray(list) && list.every((x) => typeof x === "number" && x >= 0 && x <= 1);
  if (!shares([content.truncation].flat()) || content.truncation.length === 0) throw new Error("The walk's truncation is not from 0 to 1.");
  for (const table of [content.gain, ...(content.positions ?? [])]) {
    if (table && !(shares(table) && table.length === frames)) throw new Error("The walk's positions or gain is not one for each frame, from 0 to 1.");
  }
  if (!/^\d+(\.\d+|\/0*[1-9]\d*)?$/.test(content.fps) || !(parseFloat(content.fps) > 0)) throw new Error(`The walk's fps ${JSON.stringify(content.fps)} is not above 0.`);
  if (typeof closed !== "boolean" || typeof hold !== "number" || !(Array.isArray(given) || Number.isInteger(given))) {
    throw new Error("The walk's closed, hold or keyframes has the wrong type.");
  }
  if (!PATHS.includes(path)) throw new Error(`The walk's path ${JSON.stringify(path)} is none of ${PATHS.join(", ")}.`);
  if (!(hold >= 0 && hold < 1) || !Object.hasOwn(EASES, ease) || ((hold || ease !== "linear") && !THROUGH_KEYFRAMES.includes(path))) {
    throw new Error(`The walk's hold ${JSON.stringify(hold)} and ease ${JSON.stringify(ease)} do not go with its path ${path}.`);
  }
  if (ALWAYS_CLOSED.includes(path) && !closed) throw new Error(`The path ${path} is always a loop; the walk asks for an open one.`);
  const keyframes = Array.isArray(given) ? given.map((k) => checkedKeyframe(k, zDim)) : given;
  if ((keyframes.length ?? keyframes) < leastKeyframes(path)) throw new Error(`The walk has too few keyframes for the path ${path}.`);
  return { ...content, seed, keyframes, directions: checkedDirections(directions, zDim) };
}

/** The walk in the text of a JSON file, if the page can play it. Throws an Error whose one line the page shows. */
export function fromJson(text, info) {
  const content = parsed(text, info.z_dim);
  for (const [key, value] of Object.entries(ONLY)) {
    if (content[key] !== value) {
      throw new Error(`This page plays ${key} ${JSON.stringify(value)}; the walk asks for ${JSON.stringify(content[key]).slice(0, 40)}. vidgan render --walk plays it.`);
    }
  }
  const { path, seed, closed, hold, ease, frames, directions } = content;
  const labels = content.labels?.length ? content.labels : [0];
  const [truncation, ...others] = new Set([content.truncation].flat());
  if (others.length) throw new Error("This page plays one truncation; the walk goes through several. vidgan render --walk plays it.");
  if (info.classes ? !areClasses(labels, info.classes) : content.labels?.length) {
    throw new Error("The walk's labels are not numbers of classes of this generator.");
  }
  const count = content.keyframes.length ?? content.keyframes;
  if (count > MOST_KEYFRAMES) throw new Error(`This page plays up to ${MOST_KEYFRAMES} keyframes; the walk has ${count}. vidgan render --walk plays it.`);
  const keyframes = Array.isArray(content.keyframes) ? content.keyframes : keyframesOf(seed, count);
  const segments = Math.max(1, closed ? keyframes.length : keyframes.length - 1);
  const speed = (segments * FRAMES_PER_KEYFRAME) / frames;
  return { path, seed, keyframes, closed, hold, ease, truncation, speed, labels, directions };
}

export const areClasses = (labels, classes) => Array.isArray(labels) && labels.every((c) => Number.isInteger(c) && c >= 0 && c < classes);

export const leastKeyframes = (path) => (ALWAYS_CLOSED.includes(path) ? 2 : 1);

/** The number of keyframes of a walk whose file does not give it. */
function usualCount(path, closed, frames) {
  if (path === "circle") return 2;
  return Math.max({ noise: 4, walk: 4 }[path] ?? (closed ? 3 : 2), evenly(frames / FRAMES_PER_KEYFRAME));
}

function checkedKeyframe(entry, zDim) {
  const { seed, index, latent, ...others } = entry ?? {};
  if (Object.keys(others).length) throw new Error(`A keyframe of the walk has a key ${JSON.stringify(Object.keys(others)[0])}, which vidgan does not know.`);
  if (Array.isArray(latent) && latent.length === zDim && latent.every(Number.isFinite) && latent.some((x) => x)) {
    return { latent: Float32Array.from(latent) };
  }
  const checked = checkedSeed(String(seed));
  if (latent === undefined && checked !== null && Number.isInteger(index) && index >= 0 && index < 2 ** 32) {
    return { seed: checked, index };
  }
  throw new Error(`A keyframe of the walk is neither a seed nor a latent of ${zDim} numbers.`);
}

function checkedDirections(entries, zDim) {
  const numbers = (list) => Array.isArray(list) && list.length > 0 && list.every((x) => Number.isFinite(x) && Math.abs(x) <= MOST_STRENGTH);
  for (const entry of Array.isArray(entries) ? entries : [{}]) {
    const { name, strengths, vector } = entry ?? {};
    if (typeof name !== "string" || !numbers(strengths) || !numbers(vector) || vector.length !== zDim) {
      throw new Error(`The walk's directions: each has a name, strengths and a vector of ${zDim} numbers.`);
    }
  }
  return entries;
}

/** The walk for the address bar: short where keyframes are seeds, long but exact where they are latents. */
export function toHash(walk, info) {
  const values = { seed: walk.seed };
  const ofSeed = walk.keyframes.every((k, i) => k.seed === walk.seed && k.index === i);
  if (ofSeed) values.keyframes = walk.keyframes.length;
  else values.keyframes = walk.keyframes.map((k) => (k.latent ? `z${base64(k.latent)}` : `${k.seed}.${k.index}`)).join(",");
  if (walk.path !== "loop") values.path = walk.path;
  if (!walk.closed) values.loop = 0;
  if (walk.hold) values.hold = walk.hold;
  if (walk.ease !== "linear") values.ease = walk.ease;
  if (walk.speed !== 1) values.speed = Number(walk.speed.toFixed(4));
  if (walk.truncation !== 1) values.truncation = walk.truncation;
  if (walk.labels.some((label) => label)) values.labels = walk.labels.join(",");
  // A direction of the page itself is known by its name.
  const directions = walk.directions.map(({ name, strengths, vector }) => {
    const own = known(name, info)?.vector;
    return [encodeURIComponent(encodeURIComponent(name)), strengths.join("_"), ...(own && String(own) === String(vector) ? [] : [base64(Float64Array.from(vector))])].join(":");
  });
  if (directions.length) values.directions = directions.join(",");
  return `#${Object.entries(values).map((pair) => pair.join("=")).join("&")}`;
}

/** The walk in the address bar, or null if this generator cannot play it. */
export function fromHash(hash, info) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const seed = checkedSeed(values.get("seed") ?? "");
  if (seed === null) return null;
  const number = (key, low, high, otherwise) => {
    const value = Number(values.get(key) ?? otherwise);
    return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
  };
  const labels = (values.get("labels") ?? "0").split(",").map((text) => (/^\d+$/.test(text) ? Number(text) : -1));
  try {
    const text = values.get("keyframes") ?? "4";
    const keyframes = /^\d{1,4}$/.test(text)
      ? keyframesOf(seed, Math.min(MOST_KEYFRAMES, Math.max(1, Number(text))))
      : text.split(",").map((entry) => {
          if (entry[0] === "z") return checkedKeyframe({ latent: Array.from(numbersIn(entry.slice(1), Float32Array)) }, info.z_dim);
          const [of, index] = entry.split(".");
          return checkedKeyframe({ seed: of, index: Number(index) }, info.z_dim);
        });
    const of = (key, all, otherwise) => (all.includes(values.get(key)) ? values.get(key) : otherwise);
    const asked = of("path", PATHS, "loop");
    const path = keyframes.length < leastKeyframes(asked) ? "loop" : asked;
    const stops = THROUGH_KEYFRAMES.includes(path);
    return {
      path,
      seed,
      keyframes,
      closed: values.get("loop") !== "0" || ALWAYS_CLOSED.includes(path),
      hold: stops ? number("hold", 0, 1 - Number.EPSILON, 0) : 0,
      ease: stops ? of("ease", Object.keys(EASES), "linear") : "linear",
      speed: number("speed", 0.05, 20, 1),
      truncation: number("truncation", 0, 1, 1),
      labels: areClasses(labels, info.classes) ? labels : [0],
      directions: checkedDirections(directionsIn(values.get("directions"), info), info.z_dim),
    };
  } catch {
    return null;
  }
}

const known = (name, info) => info.directions?.find((one) => one.name === name);

function directionsIn(text, info) {
  return (text ? text.split(",") : []).map((entry) => {
    const [quoted, strengths, vector] = entry.split(":");
    const name = decodeURIComponent(quoted);
    return { name, strengths: strengths.split("_").map(Number), vector: vector ? Array.from(numbersIn(vector, Float64Array)) : known(name, info)?.vector };
  }).filter(({ vector }) => vector); // those of another page have names that mean nothing here
}

function base64(latent) {
  const text = btoa(String.fromCharCode(...new Uint8Array(latent.buffer, latent.byteOffset, latent.byteLength)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function numbersIn(text, Kind) {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
}
