// Reads questions as JSON from stdin and answers them with the code of the page.
import { away, centreOf, classWeights, gaussian, position, route, truncated } from "../../export/web/src/latents.js";
import { course, framesOf, fromHash, fromJson, latentOf, toHash, toJson } from "../../export/web/src/walk.js";

const asked = JSON.parse((await process.stdin.toArray()).join(""));
const { z_dim, frames, closed, truncation, keyframes } = asked;
const path = route({ path: "loop", closed, hold: 0, ease: "linear" }, keyframes.length, (i) => latentOf(keyframes[i], z_dim));
const at = Array.from({ length: frames }, (_, i) => position(i, frames, keyframes.length, closed));
const info = { z_dim, sha256: "abc", classes: 0 };
const walk = fromJson(asked.walk, info);

const near = (z, seed, truncation) => Array.from(truncated(z, centreOf(seed, z_dim), away(truncation)));

function played(walk) {
  const { latent } = course(walk, info);
  return Array.from({ length: framesOf(walk) }, (_, i) => Array.from(latent(i)));
}

console.log(JSON.stringify({
  latents: at.map((t) => near(path(t), keyframes[0].seed, truncation)),
  gaussian: asked.seeds.map((seed) => Array.from(gaussian(seed, asked.index, z_dim))),
  frames: framesOf(walk),
  weights: asked.labels.map((labels) => at.map((_, i) => Array.from(classWeights(labels, 5, closed ? i / frames : i / (frames - 1), closed)))),
  played: played(walk),
  walk: toJson(walk, info),
  counts: asked.lengths.map((frames) => fromJson(JSON.stringify({ format: "vidgan-walk-2", z_dim, frames, ...asked.of }), info).keyframes.length),
  refused: asked.refused.map((change) => {
    try {
      return String(fromJson(JSON.stringify({ format: "vidgan-walk-2", z_dim, ...change }), info));
    } catch (error) {
      return error.message;
    }
  }),
  by_hash: toJson(fromHash(toHash(walk, info), info), info),
}));
