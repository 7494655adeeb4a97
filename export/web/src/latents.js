// Seeds to latents and latents to a path: the same numbers as vidgan/latents.py and
// vidgan/trajectory.py, which a test compares in both languages. Pure; knows no page and no model.

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];
const WINDOW = 24; // neighbours that a keyframe's slope feels; beyond them less than 1e-13
const CUBIC = (3 / (2 * Math.sqrt(3)));
const RATIO = Math.sqrt(3) - 2;

/** Threefry-2x32 with 20 rounds (Salmon et al. 2011): two counters to two random words. */
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

/** Latent `index` of `seed` (a number, BigInt or string of digits): Float32Array of zDim. */
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

/**
 * A twice continuously differentiable cubic through latents, as `vidgan render --path loop`.
 *
 * Returns a function of the position, counted in keyframes, to a Float32Array. Norms are carried
 * along as one more coordinate and restored: half-way between two latents is too short.
 */
export function curve(latents, closed) {
  const count = latents.length;
  const points = latents.map((z) => Float64Array.from([...z, norm(z)]));
  const size = points[0].length;
  const round = (i) => ((i % count) + count) % count;

  function point(i) {
    if (closed) return points[round(i)];
    const span = count - 1;
    if (span === 0) return points[0];
    // Reflection through each end makes the second derivative vanish there.
    const turn = Math.floor(i / (2 * span));
    const rest = i - turn * 2 * span;
    const [first, last] = [points[0], points[span]];
    const inside = points[rest > span ? 2 * span - rest : rest];
    return inside.map((x, d) => (rest > span ? 2 * last[d] - x : x) + 2 * turn * (last[d] - first[d]));
  }

  const slopes = points.map((_, k) => {
    const slope = new Float64Array(size);
    for (let reach = -WINDOW; reach <= WINDOW; reach++) {
      const weight = CUBIC * RATIO ** Math.abs(reach);
      const [after, before] = [point(k + reach + 1), point(k + reach - 1)];
      for (let d = 0; d < size; d++) slope[d] += weight * (after[d] - before[d]);
    }
    return slope;
  });

  return (at) => {
    let i = Math.floor(at);
    if (!closed) i = Math.min(i, Math.max(count - 2, 0));
    const u = at - i;
    const [a, b] = [round(i), round(i + 1)];
    const [p, q, m, n] = [points[a], points[b], slopes[a], slopes[b]];
    const [u2, u3] = [u * u, u * u * u];
    const v = p.map(
      (x, d) =>
        (2 * u3 - 3 * u2 + 1) * x + (u3 - 2 * u2 + u) * m[d] + (3 * u2 - 2 * u3) * q[d] + (u3 - u2) * n[d],
    );
    const z = v.subarray(0, size - 1);
    const scale = v[size - 1] / norm(z);
    return Float32Array.from(z, (x) => x * scale);
  };
}

/** Where frame `i` of `frames` stands, counted in keyframes. A loop doubles no frame. */
export function position(i, frames, keyframes, closed) {
  return closed ? i * (keyframes / frames) : i * ((keyframes - 1) / Math.max(frames - 1, 1));
}

/** From latent a towards latent b along the great circle, norms straight; u from 0 to 1. */
export function slerp(a, b, u) {
  const [na, nb] = [norm(a), norm(b)];
  const cosine = a.reduce((sum, x, d) => sum + (x / na) * (b[d] / nb), 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (sine < 1e-6) return Float32Array.from(a, (x, d) => x + u * (b[d] - x));
  const [wa, wb] = [Math.sin((1 - u) * angle) / sine / na, Math.sin(u * angle) / sine / nb];
  const length = (1 - u) * na + u * nb;
  return Float32Array.from(a, (x, d) => (wa * x + wb * b[d]) * length);
}

/**
 * Two directions square to a latent and to each other, for the two axes of a drag: Float64Arrays of
 * the latent's own length, so that turning by 90 degrees arrives at an equally likely latent.
 */
export function axesAt(z, seed) {
  const basis = [Float64Array.from(z)];
  const length = norm(z);
  for (let index = 0; index < 2; index++) {
    const axis = Float64Array.from(gaussian(seed, index, z.length));
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
