// Seeds to latents, and latents to a path. A test checks that these functions compute the same numbers
// as vidgan/latent/seeds.py and vidgan/latent/paths.py. They know neither the page nor the model.

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];
const CUBIC = Array.from({ length: 49 }, (_, k) => (3 / (2 * Math.sqrt(3))) * (Math.sqrt(3) - 2) ** Math.abs(k - 24));
const CATMULL_ROM = [0.5];
const SMOOTHING = 0.7; // width of the Gaussian of the path "walk", in keyframes
const REACH = 5; // keyframes on either side that the Gaussian weighs
const OCTAVES = 4; // of the path "noise"
const CENTRE = 2 ** 32 - 1; // the index of the latent that truncation turns to

/** Threefry-2x32 with 20 rounds (Salmon et al. 2011): two counter words to two random words. */
function threefry(low, high, x0, x1) {
  const keys = [low, high, low ^ high ^ 0x1bd11bda];
  x0 = (x0 + keys[0]) | 0;
  x1 = (x1 + keys[1]) | 0;
  for (let turn = 0; turn < 20; turn++) {
    const by = ROTATIONS[turn % 8];
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << by) | (x1 >>> (32 - by))) ^ x0;
    if (turn % 4 === 3) {
      const n = (turn + 1) / 4;
      x0 = (x0 + keys[n % 3]) | 0;
      x1 = (x1 + keys[(n + 1) % 3] + n) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** Latent `index` of `seed` as a Float32Array of zDim. The seed may be a number, a BigInt or a string of digits. */
export function gaussian(seed, index, zDim) {
  const whole = BigInt(seed);
  const low = Number(whole & 0xffffffffn) | 0;
  const high = Number(whole >> 32n) | 0;
  const z = new Float32Array(zDim);
  for (let pair = 0; 2 * pair < zDim; pair++) {
    const [x0, x1] = threefry(low, high, pair, index);
    const radius = Math.sqrt(-2 * Math.log((x0 + 1) / 2 ** 32)); // Box-Muller
    const angle = 2 * Math.PI * (x1 / 2 ** 32);
    z[2 * pair] = radius * Math.cos(angle);
    if (2 * pair + 1 < zDim) z[2 * pair + 1] = radius * Math.sin(angle);
  }
  return z;
}

const norm = (z) => Math.sqrt(z.reduce((sum, x) => sum + x * x, 0));

/** A function of whole numbers that keeps its last 256 answers, so that a path of any length fits in memory. */
function remembered(answer) {
  const known = new Map();
  return (i) => {
    if (!known.has(i)) known.set(i, answer(i));
    if (known.size > 256) known.delete(known.keys().next().value); // the oldest
    return known.get(i);
  };
}

const round = (i, count) => ((i % count) + count) % count;
const scaledTo = (length, z) => {
  const scale = length / norm(z);
  return z.map((x) => x * scale);
};

// The curves. Each is made of a function from the number of a keyframe to its latent, of their count
// and of whether it is closed. It maps a position, counted in keyframes, to a latent.

/** The two keyframes around a position, and how far it is from the first to the second, 0 to 1. */
function segment(at, count, closed) {
  const i = closed ? Math.floor(at) : Math.min(Math.floor(at), Math.max(count - 2, 0));
  return [round(i, count), round(i + 1, count), at - i];
}

function lerp(keyframe, count, closed) {
  return (at) => {
    const [a, b, u] = segment(at, count, closed);
    const [p, q] = [keyframe(a), keyframe(b)];
    return p.map((x, d) => (1 - u) * x + u * q[d]);
  };
}

/**
 * A cubic curve through latents. Each slope is a weighted sum of the differences of neighbours.
 *
 * The norm of each latent is interpolated as one more coordinate, and the result is scaled to it,
 * because the mean of two latents is shorter than either.
 */
function hermite(keyframe, count, closed, weights) {
  const given = remembered((i) => {
    const z = keyframe(i);
    return Float64Array.from([...z, norm(z)]);
  });
  const size = given(0).length;

  function point(i) {
    if (closed) return given(round(i, count));
    const span = count - 1;
    if (span === 0) return given(0);
    // The points are reflected through each end, so that the second derivative is zero there.
    const turn = Math.floor(i / (2 * span));
    const rest = i - turn * 2 * span;
    const [first, last] = [given(0), given(span)];
    const inside = given(rest > span ? 2 * span - rest : rest);
    return inside.map((x, d) => (rest > span ? 2 * last[d] - x : x) + 2 * turn * (last[d] - first[d]));
  }

  const slopeAt = remembered((k) => {
    const slope = new Float64Array(size);
    for (const [n, weight] of weights.entries()) {
      const middle = k + n - (weights.length >> 1);
      const [after, before] = [point(middle + 1), point(middle - 1)];
      for (let d = 0; d < size; d++) slope[d] += weight * (after[d] - before[d]);
    }
    return slope;
  });

  return (at) => {
    const [a, b, u] = segment(at, count, closed);
    const [p, q, m, n] = [given(a), given(b), slopeAt(a), slopeAt(b)];
    const [u2, u3] = [u * u, u * u * u];
    const v = p.map(
      (x, d) =>
        (2 * u3 - 3 * u2 + 1) * x + (u3 - 2 * u2 + u) * m[d] + (3 * u2 - 2 * u3) * q[d] + (u3 - u2) * n[d],
    );
    return scaledTo(v[size - 1], v.subarray(0, size - 1));
  };
}

/** One full turn from latent 0 through the direction of latent 1. */
function circle(keyframe, count) {
  const [a, b] = [keyframe(0), keyframe(1)];
  const radius = norm(a);
  const across = a.reduce((sum, x, d) => sum + x * b[d], 0) / radius ** 2;
  const square = b.map((x, d) => x - across * a[d]);
  if (norm(square) < 1e-6 * radius) throw new Error("A circle needs two keyframes that differ in direction.");
  const axis = scaledTo(radius, square);
  return (at) => {
    const angle = (2 * Math.PI * at) / count;
    return a.map((x, d) => Math.cos(angle) * x + Math.sin(angle) * axis[d]);
  };
}

/** The keyframes as white noise, smoothed by a Gaussian and scaled to the norm sqrt(size). */
function walk(keyframe, count, closed) {
  const size = keyframe(0).length;
  return (at) => {
    const z = new Float64Array(size);
    const first = Math.floor(at);
    for (let near = first - REACH; near <= first + REACH + 1; near++) {
      const weight = Math.exp(-(((at - near) / SMOOTHING) ** 2) / 2);
      const point = keyframe(closed ? round(near, count) : Math.min(count - 1, Math.max(0, near)));
      for (let d = 0; d < size; d++) z[d] += weight * point[d];
    }
    return scaledTo(Math.sqrt(size), z);
  };
}

function frequencies(count) {
  const top = Math.max(1, count >> 1);
  return [...new Set(Array.from({ length: OCTAVES }, (_, octave) => (top >> octave) | 1))].sort((a, b) => a - b);
}

/** A sum of octaves of looping noise. Each octave uses two keyframes. */
function noise(keyframe, count) {
  const octaves = frequencies(count);
  const scale = octaves.reduce((sum, f) => sum + f ** -2, 0) ** -0.5;
  return (at) => {
    const z = new Float64Array(keyframe(0).length);
    for (const [pair, f] of octaves.entries()) {
      const angle = (2 * Math.PI * f * at) / count;
      const [c, s] = [(Math.cos(angle) * scale) / f, (Math.sin(angle) * scale) / f];
      const [a, b] = [keyframe(2 * pair), keyframe(2 * pair + 1)];
      for (let d = 0; d < z.length; d++) z[d] += c * a[d] + s * b[d];
    }
    return z;
  };
}

const CURVES = {
  loop: (...given) => hermite(...given, CUBIC),
  lerp,
  slerp: (keyframe, count, closed) => (at) => {
    const [a, b, u] = segment(at, count, closed);
    return slerp(keyframe(a), keyframe(b), u);
  },
  spline: (...given) => hermite(...given, CATMULL_ROM),
  circle,
  walk,
  noise,
};
export const PATHS = Object.keys(CURVES);
export const THROUGH_KEYFRAMES = ["loop", "lerp", "slerp", "spline"];
export const ALWAYS_CLOSED = ["circle", "noise"];
export const EASES = {
  linear: (u) => u,
  smoothstep: (u) => 3 * u ** 2 - 2 * u ** 3,
  "in-out": (u) => (1 - Math.cos(Math.PI * u)) / 2,
};

/** How many of `count` keyframes a path uses. */
export const used = (path, count) => ({ circle: 2, noise: 2 * frequencies(count).length })[path] ?? count;

/**
 * The path through latents that `vidgan render --path` takes: a function from the position, counted
 * in keyframes, to a Float32Array. `latent` maps the number of a keyframe to its latent. Throws an
 * Error of one line if the latents allow no such path.
 */
export function route({ path, closed, hold, ease }, count, latent) {
  const curve = CURVES[path](remembered((i) => Float64Array.from(latent(i))), count, closed);
  return (at) => {
    const whole = Math.floor(at);
    const u = Math.min(1, Math.max(0, (at - whole - hold / 2) / (1 - hold)));
    return Float32Array.from(curve(hold || ease !== "linear" ? whole + EASES[ease](u) : at));
  };
}

/** The position of frame `i` of `frames`, counted in keyframes. A loop does not repeat its first frame. */
export function position(i, frames, keyframes, closed) {
  return closed ? (i / frames) * keyframes : (i / Math.max(frames - 1, 1)) * (keyframes - 1);
}

export const centreOf = (seed, zDim) => gaussian(seed, CENTRE, zDim);

/** The angle between a latent and the centre that a truncation keeps, as a share of a right angle. */
export const away = (truncation) => 1 - Math.acos(truncation) * (2 / Math.PI);

/** A latent turned towards the centre, so that it stays as Gaussian as both are. With 1 it is as it was. */
export function truncated(z, centre, share) {
  const turn = (1 - share) * (Math.PI / 2);
  const [c, s] = [Math.cos(turn), Math.sin(turn)];
  return z.map((x, d) => c * x + s * centre[d]);
}

/**
 * Of values that a film goes through one after the other: the two around t, which is from 0 to 1 over
 * the film, and how far it is from the first to the second, 0 to 1, with smooth changes.
 */
export function inTurn(values, t, closed) {
  // A closed walk returns to its first value by itself.
  const turn = closed && values.length > 1 && values[0] === values.at(-1) ? values.slice(0, -1) : values;
  const at = t * (closed ? turn.length : turn.length - 1);
  const i = Math.floor(at);
  return [turn[i % turn.length], turn[(i + 1) % turn.length], EASES.smoothstep(at - i)];
}

export function strengthAt({ strengths }, t, closed) {
  const [a, b, u] = inTurn(strengths, t, closed);
  return (1 - u) * a + u * b;
}

/** A latent along directions, by what their strengths are at t. */
export function moved(z, directions, t, closed) {
  const away = Float64Array.from(z);
  for (const one of directions) {
    const strength = strengthAt(one, t, closed);
    one.vector.forEach((x, d) => (away[d] += strength * x));
  }
  return Float32Array.from(away);
}

/** The weights of all classes at t, as a Float32Array, where `vidgan render --labels` goes through `labels`. */
export function classWeights(labels, classes, t, closed) {
  const [a, b, u] = inTurn(labels, t, closed);
  const weights = new Float64Array(classes);
  weights[a] += 1 - u;
  weights[b] += u;
  return Float32Array.from(weights);
}

/** From latent a to b along the great circle, u from 0 to 1. The norm is interpolated linearly. */
export function slerp(a, b, u) {
  const [na, nb] = [norm(a), norm(b)];
  const cosine = a.reduce((sum, x, d) => sum + (x / na) * (b[d] / nb), 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const flat = Math.sin(angle) < 1e-6; // parallel: there is no great circle, or more than one
  const weight = (share) => (flat ? share : Math.sin(share * angle) / Math.sin(angle));
  const [wa, wb] = [weight(1 - u) / na, weight(u) / nb];
  const length = (1 - u) * na + u * nb;
  return Float32Array.from(a, (x, d) => (wa * x + wb * b[d]) * length);
}

/**
 * Two directions, orthogonal to a latent and to each other, for the two axes of a drag: near two given
 * ones, or drawn from a seed. They are Float64Arrays with the norm of the latent, so that a turn of 90
 * degrees ends at a latent that is equally likely.
 */
export function axesAt(z, seed, given) {
  const basis = [Float64Array.from(z)];
  const length = norm(z);
  for (let index = 0; index < 2; index++) {
    const axis = Float64Array.from(given?.[index] ?? gaussian(seed, index, z.length));
    for (const known of basis) {
      const along = axis.reduce((sum, x, d) => sum + x * known[d], 0) / length ** 2;
      for (let d = 0; d < axis.length; d++) axis[d] -= along * known[d];
    }
    const scale = length / norm(axis);
    basis.push(axis.map((x) => x * scale));
  }
  return basis.slice(1);
}

/** The latent turned by the angles x and y (radians) along two axes from `axesAt`. */
export function turned(z, axes, x, y) {
  const angle = Math.hypot(x, y);
  if (angle === 0) return Float32Array.from(z);
  const [c, s] = [Math.cos(angle), Math.sin(angle) / angle];
  return Float32Array.from(z, (value, d) => c * value + s * (x * axes[0][d] + y * axes[1][d]));
}
