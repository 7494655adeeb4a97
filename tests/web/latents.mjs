// Reads questions as JSON from stdin, answers with what the page's own code computes.
import { curve, gaussian, position } from "../../export/web/src/latents.js";
import { framesOf, fromHash, fromRecipe, latentOf, toHash, toRecipe } from "../../export/web/src/recipe.js";

const asked = JSON.parse((await process.stdin.toArray()).join(""));
const { z_dim, frames, closed, truncation, keyframes } = asked;
const path = curve(keyframes.map((k) => latentOf(k, z_dim)), closed);
const at = Array.from({ length: frames }, (_, i) => position(i, frames, keyframes.length, closed));
const info = { z_dim, sha256: "abc", classes: 0 };
const walk = fromRecipe(asked.recipe, info);

function played({ keyframes, closed, truncation, ...rest }) {
  const count = framesOf({ keyframes, closed, ...rest });
  const path = curve(keyframes.map((k) => latentOf(k, z_dim)), closed);
  const at = (i) => path(position(i, count, keyframes.length, closed));
  return Array.from({ length: count }, (_, i) => Array.from(at(i), (x) => Math.fround(x * truncation)));
}

console.log(JSON.stringify({
  latents: at.map((t) => Array.from(path(t), (x) => Math.fround(x * truncation))),
  gaussian: asked.seeds.map((seed) => Array.from(gaussian(seed, asked.index, z_dim))),
  frames: framesOf(walk),
  played: played(walk),
  recipe: toRecipe(walk, info),
  counts: asked.lengths.map((frames) => fromRecipe(JSON.stringify({ format: "vidgan-recipe-1", z_dim, frames, closed }), info).keyframes.length),
  by_hash: toRecipe(fromHash(toHash(walk), info), info),
}));
