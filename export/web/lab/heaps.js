// The data of the plane, and how the plane is shown.

export const FIELD = 36; // places across, at which the discriminator is asked
export const REACH = 1.6; // the plane is shown from -REACH to REACH
const HEAPS = 8;
const SPREAD = 0.04; // of a heap

/** The middles of the heaps, of data that are heaps. */
export const middles = {
  ring: Array.from({ length: HEAPS }, (_, n) => [Math.cos((2 * Math.PI * n) / HEAPS), Math.sin((2 * Math.PI * n) / HEAPS)]),
  grid: Array.from({ length: 9 }, (_, n) => [(n % 3) - 1, Math.floor(n / 3) - 1]),
};

/** A point of the data. */
function point(data, normal) {
  const uniform = Math.exp(-(normal() ** 2 + normal() ** 2) / 2) % 1;
  if (data === "spiral") {
    const turn = 0.25 + uniform;
    const angle = 3 * Math.PI * turn;
    return [turn * Math.cos(angle), turn * Math.sin(angle)].map((x) => x + SPREAD * normal());
  }
  const heaps = middles[data];
  return heaps[Math.floor(uniform * heaps.length)].map((x) => x + SPREAD * normal());
}

export const points = (data, count, normal) => Float32Array.from(Array.from({ length: count }, () => point(data, normal)).flat());

/** How many heaps of the data have made points: at least a hundredth of all of them. */
export function found(data, cloud) {
  const counts = middles[data].map(([x, y]) => {
    let near = 0;
    for (let i = 0; i < cloud.length; i += 2) near += Math.hypot(cloud[i] - x, cloud[i + 1] - y) < 5 * SPREAD;
    return near;
  });
  return counts.filter((near) => near >= cloud.length / 200).length;
}
