// The page: a person watches a walk through the generator's latent space, changes it and saves it.

import { ALWAYS_CLOSED, THROUGH_KEYFRAMES, axesAt, gaussian, slerp, turned, used } from "./latents.js";
import { checkedSeed, course, framesOf, fromHash, fromJson, keyframesOf, latentOf, leastKeyframes, sown, toHash, toJson } from "./walk.js";
import { ACROSS, LatentMap } from "./map.js";
import { ClassList, mixture } from "./classes.js";
import { Mixer } from "./mixer.js";
import { CLIP_FPS, CLIP_SIDE, FPS, Taken, clipSeconds, enlargement } from "./send.js";
import { Finds } from "./finds.js";
import { soundBy } from "./sound.js";
import { Sliders, strongest } from "./sliders.js";
import { Strip } from "./strip.js";
import { formats } from "./record.js";
import { Encoder, takePhotos } from "./photo.js";
import { Generator } from "./generator.js";
import { Gamepads, listenToMidi } from "./controllers.js";
import { travelBy } from "./past.js";
import { quizIn } from "./quiz.js";

const MOST_BYTES = 2 ** 26; // of a walk's file
const DRAG_RADIANS = Math.PI / 2; // the turn of a drag across the whole picture
const CHILD_RADIANS = 0.6; // from a picture to its children
const HINTS = { one: "Drag the picture and see it change", nine: "Nine walks: choose one", map: "Drag to roam, tap to go there" };
const GLIDE_S = 0.7; // the time to return to the path after a drag
const STICK_RADIANS = 0.8; // the turn of a gamepad's stick in a second
const STICK_TILES = 2; // on the map, in a second
const SOME = 0.05; // of a class in a mixture, to be one of a walk
// What a film or a short loop is good for.
const KINDS = { MP4: "plays everywhere", WebM: "for web pages", WebP: "loops, small, for chats", GIF: "loops, for old programs" };
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * `opened`: the generator; `extra(name)`, the bytes of what else the page has, by info.extras; `runtime()`
 * to run it. `pageWith(walk)` gives this page as a file with a walk in it, where that can be.
 */
export function start({ generator, extra, runtime }, pageWith) {
  const { info } = generator;
  const picture = $("picture");
  const small = new OffscreenCanvas(info.width, info.height); // the frame before enlargement
  const enlarge = enlargement(info);
  const thumbnails = new Map();
  const given = document.querySelector("meta[name=walk]").content;
  const walk = { labels: [0], directions: [], ...(fromHash(location.hash, info) ?? fromHash(given, info) ?? fresh("7")) };
  // mode: one picture, nine or the map. children: those of view.free, which Nine then shows. aim: the one of nine that a
  // gamepad points at. mix: weights of classes, instead of the walk's.
  const view = { t: 0, playing: !still.matches, free: null, glide: null, crisp: false, mode: "one", children: null, map: null, aim: null, mix: null, making: null, sound: null, gain: 1 };
  const films = new Map(); // that this browser can encode, by their container
  let kind = "WebP"; // of film or short loop that is made next
  let main, nineWalks, depth = history.state?.depth ?? 0, shownSince = performance.now(), shownFrames = 0, dirty = true, busy = false;

  function fresh(seed, count = 4) {
    return { path: "loop", seed, keyframes: keyframesOf(seed, count), closed: true, hold: 0, ease: "linear", speed: 1, truncation: 1 };
  }

  // The walk, and all state that is computed from it.

  function changed() {
    if (ALWAYS_CLOSED.includes(walk.path)) walk.closed = true;
    if (!through()) Object.assign(walk, { hold: 0, ease: "linear" }); // such a path does not pass through its keyframes
    try {
      main = course(walk, info);
    } catch (error) {
      walk.path = "loop";
      main = course(walk, info);
      toast(error.message);
    }
    nineWalks = null;
    view.t = Math.min(view.t, 1);
    strip.show(walk.keyframes, used(walk.path, walk.keyframes.length));
    commit();
    show();
  }

  // The browser's history holds every walk, so that Back undoes, and the address is a link to the walk.

  function commit() {
    const hash = toHash(walk, info);
    const before = history.state?.walk;
    if (before && toHash(before, info) === hash) return;
    if (before) depth++;
    history[before ? "pushState" : "replaceState"]({ walk: structuredClone(walk), depth }, "", hash);
  }

  addEventListener("popstate", ({ state }) => {
    const walkThen = state?.walk ?? fromHash(location.hash, info); // of a typed address there is no state
    if (!walkThen) return;
    if (view.free) leave();
    depth = state?.depth ?? depth + 1;
    Object.assign(walk, structuredClone(walkThen));
    Object.assign(view, { mix: null, free: null, glide: null, mode: "one", children: null });
    changed();
  });

  const undo = () => (depth > 0 ? history.back() : toast("There is nothing to undo."));

  // Finds: what the person leaves without keeping it.

  /** Put what is shown among the finds, because something else takes its place. */
  function leave() {
    const { free } = view;
    const found = { ...walk, keyframes: free ? [{ latent: free }] : walk.keyframes };
    finds.add(toHash(found, info) + (view.mix ?? ""), {
      walk: structuredClone(walk), t: view.t, free, mix: view.mix, latent: main.near(latentNow(), view.t), weights: weightsNow(),
    });
    $("finds-note").hidden = true;
  }

  const finds = new Finds($("finds"), async (find, canvas) => {
    Object.assign(canvas, { width: info.width, height: info.height });
    const [data] = await generator.frames([find.latent], [find.weights]);
    canvas.getContext("2d").putImageData(data, 0, 0);
  }, (find) => {
    leave();
    Object.assign(walk, structuredClone(find.walk));
    Object.assign(view, { t: find.t, free: find.free, mix: find.mix, glide: null, mode: "one", children: null, playing: view.playing && !find.free && !find.mix });
    changed();
  });

  const seedAfter = (n) => String((BigInt(walk.seed) + BigInt(n)) % 2n ** 64n);
  const through = () => THROUGH_KEYFRAMES.includes(walk.path);
  const duration = () => framesOf(walk) / FPS;
  const weightsNow = () => view.mix ?? main.weights(view.t);

  /** The courses that Nine shows: of this walk, and of the next eight seeds. */
  function nine() {
    nineWalks ??= [main, ...Array.from({ length: 8 }, (_, n) => {
      const seed = seedAfter(n + 1);
      const other = Object.assign(Object.create(walk), { seed, keyframes: sown(walk.keyframes, seed) });
      return course(other, info); // which follows the truncation of this walk
    })];
    return nineWalks;
  }

  function latentNow() {
    const onPath = main.along(view.t);
    if (view.free) return view.free;
    if (!view.glide) return onPath;
    const u = Math.min(1, (performance.now() - view.glide.since) / (GLIDE_S * 1000));
    if (u === 1) view.glide = null;
    return u === 1 ? onPath : slerp(view.glide.from, onPath, u * u * (3 - 2 * u));
  }

  /** Set every control to the current state. */
  function show() {
    dirty = true;
    $("seed").value = walk.seed;
    $("seed").classList.remove("wrong");
    $("truncation").value = walk.truncation;
    $("truncation-value").value = walk.truncation.toFixed(2);
    $("speed").value = Math.log2(walk.speed);
    $("speed-value").value = `${walk.speed.toFixed(walk.speed < 1 ? 2 : 1)}×`;
    if (info.classes) classes.show(walk.labels);
    $("mix-take").hidden = !view.mix;
    sliders.show(walk.directions);
    $("sliders-group").hidden = !$("sliders").children.length;
    $("sliders-reset").hidden = !walk.directions.length;
    $("path").value = walk.path;
    $("loop").disabled = ALWAYS_CLOSED.includes(walk.path);
    $("loop").ariaPressed = walk.closed;
    $("crisp").ariaPressed = view.crisp;
    for (const mode of ["nine", "map"]) $(mode).ariaPressed = view.mode === mode;
    if (view.mode === "map") view.map.tiles.clear(); // they may be of another truncation or class
    $("free").hidden = !view.free || view.mode === "map";
    $("free-text").textContent = view.children ? "Choose one" : "Your find";
    $("hint").textContent = HINTS[view.mode];
    $("hint").classList.toggle("gone", !!view.free || (view.mode === "one" && hinted));
    $("undo").disabled = depth === 0;
    const icon = view.playing ? "pause" : "play";
    $("play").querySelector("use").setAttribute("href", `#i-${icon}`);
    $("play").ariaLabel = icon === "pause" ? "Pause" : "Play";
    picture.classList.toggle("crisp", view.crisp);
    picture.classList.toggle("pick", view.mode === "nine");
    for (const id of ["truncation", "speed"]) filled($(id));
    $("kind").disabled = !!view.making;
    $("record-text").textContent = view.making ? "Stop" : films.has(kind) ? `Film of ${duration().toFixed(1)} s` : `Loop of ${clipSeconds(walk).toFixed(1)} s`;
    const [size, fps] = films.has(kind) ? [enlarge, FPS] : [enlargement(info, CLIP_SIDE), CLIP_FPS];
    $("record-note").textContent = `${kind}: ${KINDS[kind]}. ${info.width * size} × ${info.height * size}, ${fps} frames/s.`;
  }

  function filled(range) {
    const share = (range.value - range.min) / (range.max - range.min || 1);
    range.style.setProperty("--done", `${share * 100}%`);
  }

  function play(on) {
    if (on && view.free) leaveFree();
    else if (on && view.mix) leave();
    if (on) view.mix = null;
    if (on && view.mode === "map") view.mode = "one";
    if (on && !walk.closed && view.t >= 1) view.t = 0;
    view.playing = on;
    show();
  }

  function leaveFree() {
    leave();
    if (!still.matches) view.glide = { from: view.free, since: performance.now() };
    Object.assign(view, { free: null, children: null, mode: "one" });
  }

  const modeOnPath = () => (view.mode === "nine" && !view.children ? "nine" : "one");

  function seek(t) {
    if (view.free) leave();
    Object.assign(view, { mode: modeOnPath(), t, free: null, glide: null, children: null });
    dirty = true;
    $("free").hidden = true;
  }

  function sow(seed) {
    leave();
    if (!view.free && !still.matches) view.glide = { from: latentNow(), since: performance.now() };
    Object.assign(walk, { seed, keyframes: sown(walk.keyframes, seed) });
    Object.assign(view, { mode: modeOnPath(), free: null, children: null });
    changed();
  }

  const roll = () => sow(String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));

  /** Insert the visible picture as a keyframe, after the keyframe that the walk has passed. */
  function keep() {
    if (view.mode === "map") goTo(view.map.middle);
    const latent = latentNow();
    const behind = view.free || !main.segments || !through() ? walk.keyframes.length : Math.floor(view.t * main.segments) + 1;
    walk.keyframes.splice(behind, 0, { latent: Float32Array.from(latent) });
    Object.assign(view, { free: null, glide: null, children: null, mode: "one" });
    changed();
    if (through()) seek(behind / Math.max(1, main.segments));
    show();
    strip.list.children[behind].scrollIntoView({ block: "nearest", inline: "nearest" });
    toast(`Kept: the walk now comes by here, as picture ${behind + 1} of ${walk.keyframes.length}`);
  }

  const strip = new Strip($("strip"), thumbnail, {
    choose(i) {
      if (view.free) leave();
      if (!through()) return moveTo(latentOf(walk.keyframes[i], info.z_dim)); // the path does not pass through this keyframe
      view.playing = false;
      seek(Math.min(1, i / Math.max(1, main.segments)));
      show();
    },
    reorder(from, to) {
      walk.keyframes.splice(to, 0, ...walk.keyframes.splice(from, 1));
      changed();
    },
    remove(i) {
      const least = leastKeyframes(walk.path);
      if (walk.keyframes.length <= least) return toast(`This path needs ${least === 1 ? "one keyframe" : "two keyframes"}.`);
      walk.keyframes.splice(i, 1);
      changed();
    },
  });

  const names = info.class_names;
  const setLabels = (labels) => {
    walk.labels = labels;
    view.mix = null;
    changed();
  };
  const classes = new ClassList($("classes"), names, setLabels);
  const mixer = new Mixer($("mixer"), names, (mix) => {
    Object.assign(view, { mix, playing: false, glide: null });
    show();
  });
  $("mix-take").addEventListener("click", () => {
    const shares = [...view.mix].map((share, label) => [share, label]).filter(([share]) => share >= SOME);
    setLabels(shares.sort(([a], [b]) => b - a).map(([, label]) => label));
    toast("The walk now goes through these classes, one after the other.");
  });
  $("class-add").addEventListener("click", () => classes.add());

  const sliders = new Sliders($("sliders"), info.directions ?? [], setDirections);
  const drawnAxes = strongest(info.directions ?? []); // of a drag; else each draws its own

  function setDirections(directions, done) {
    walk.directions = directions;
    stripLater();
    if (done) commit();
    show();
  }

  async function thumbnail(keyframe, canvas, i) {
    canvas.width = info.width;
    canvas.height = info.height;
    const t = Math.min(1, i / Math.max(1, main.segments));
    const weights = main.weights(t);
    const along = walk.directions.map(({ name, strengths }) => [name, strengths]);
    const name = `${walk.truncation} ${walk.truncation < 1 ? walk.seed : ""} ${weights} ${along} ${keyframe.latent ?? `${keyframe.seed}.${keyframe.index}`}`;
    if (!thumbnails.has(name)) {
      if (thumbnails.size > 200) thumbnails.clear();
      const [data] = await generator.frames([main.near(latentOf(keyframe, info.z_dim), t)], [weights]);
      thumbnails.set(name, data);
    }
    canvas.getContext("2d").putImageData(thumbnails.get(name), 0, 0);
  }

  // The picture.

  const framesAt = (latents, weights = weightsNow()) => generator.frames(latents, latents.map(() => weights));

  /** What is to be seen now, before truncation: one picture or nine, row by row. */
  function latentsNow() {
    const { t, gain } = view;
    if (view.mode !== "nine") return [main.near(latentNow(), t, gain)];
    return view.children?.map((z) => main.near(z, t, gain)) ?? nine().map((one) => one.near(one.along(t), t, gain));
  }

  async function paint() {
    const { mode, map } = view;
    const columns = { one: 1, nine: 3, map: ACROSS }[mode];
    const data = mode === "map" ? [] : await framesAt(latentsNow());
    const side = { width: info.width * columns, height: info.height * columns };
    const zoom = view.crisp ? 1 : Math.ceil(enlarge / columns);
    if (picture.width !== side.width * zoom) picture.width = side.width * zoom;
    if (picture.height !== side.height * zoom) picture.height = side.height * zoom;
    const context = picture.getContext("2d");
    context.imageSmoothingEnabled = !view.crisp;
    context.imageSmoothingQuality = "high";
    if (mode === "map") {
      if (await map.paint(picture)) dirty = true; // tiles are missing
      return;
    }
    const gap = mode === "nine" ? zoom : 0;
    if (gap) context.clearRect(0, 0, picture.width, picture.height);
    for (const [cell, one] of data.entries()) {
      small.getContext("2d").putImageData(one, 0, 0);
      const [x, y] = [(cell % columns) * info.width, Math.floor(cell / columns) * info.height];
      context.drawImage(small, x * zoom + gap, y * zoom + gap, info.width * zoom - 2 * gap, info.height * zoom - 2 * gap);
    }
    if (mode === "nine" && view.aim !== null) {
      const [wide, high] = [info.width * zoom, info.height * zoom];
      Object.assign(context, { strokeStyle: "#f2925c", lineWidth: 3 });
      context.strokeRect((view.aim % 3) * wide + 1.5, Math.floor(view.aim / 3) * high + 1.5, wide - 3, high - 3);
    }
    if (shownFrames++ % 4 === 0) $("glow").getContext("2d").drawImage(small, 0, 0, 8, 8);
  }

  let last = performance.now();
  async function tick(now) {
    requestAnimationFrame(tick);
    const elapsed = Math.min(0.25, Math.max(0, (now - last) / 1000)); // the first `now` may be earlier than `last`
    last = now;
    const moves = view.playing && !view.making && !view.free && view.mode !== "map";
    view.sound?.pause(!moves);
    if (moves) {
      const share = elapsed / duration();
      if (view.sound) [view.t, view.gain] = view.sound.step(view.t, share, elapsed);
      else view.t += share;
      if (view.sound) view.t %= 1;
      else if (walk.closed) view.t %= 1;
      else if (view.t >= 1) {
        view.t = 1;
        view.playing = false;
        show();
      }
      dirty = true;
    }
    if (!view.making && !document.querySelector("dialog[open]")) gamepads.look(elapsed);
    if ((!dirty && !view.glide) || busy || view.making) return;
    busy = true;
    dirty = false;
    try {
      await paint();
      document.documentElement.dataset.frames = shownFrames; // read by tests and benchmarks
    } catch (error) {
      view.playing = false;
      toast(`The generator failed: ${error.message ?? error}`);
    }
    busy = false;
    clocks(now);
  }

  function clocks(now) {
    if (document.activeElement !== $("seek") || view.playing) $("seek").value = view.t;
    filled($("seek"));
    $("clock").value = `${(view.t * duration()).toFixed(1)} / ${duration().toFixed(1)} s`;
    if (info.classes) {
      $("mixture").value = view.mix || walk.labels.length > 1 ? mixture(weightsNow(), names) : "";
      mixer.show(weightsNow(), walk.labels);
      $("mix-note").hidden = $("mixer").hidden;
    }
    const nearest = Math.round(view.t * main.segments);
    strip.near(view.free || !through() ? -1 : walk.closed ? nearest % walk.keyframes.length : nearest);
    if (now - shownSince > 1000) {
      const fps = ((shownFrames - (clocks.from ?? 0)) * 1000) / (now - shownSince);
      $("status").textContent = view.playing ? `${fps.toFixed(0)} frames/s` : "";
      [shownSince, clocks.from] = [now, shownFrames];
    }
  }

  // A drag turns the latent about the origin of latent space, towards two directions.

  let drag = null;
  let drags = 0;
  let hinted = false; // whether the person has found out what the hint says
  picture.addEventListener("pointerdown", (event) => {
    if (event.button || view.making) return;
    if (view.mode === "nine") return pick(placeOf(event));
    picture.setPointerCapture(event.pointerId);
    picture.classList.add("held");
    if (view.mode === "map") return void (drag = { id: event.pointerId, x: event.clientX, y: event.clientY, from: [event.clientX, event.clientY] });
    const from = Float32Array.from(latentNow());
    drag = { id: event.pointerId, x: event.clientX, y: event.clientY, from, axes: axesAt(from, ++drags, drawnAxes) };
  });
  picture.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drag?.id) return;
    const box = picture.getBoundingClientRect();
    if (view.mode === "map") return roam(box, event);
    const side = box.width / DRAG_RADIANS;
    const [x, y] = [(event.clientX - drag.x) / side, (event.clientY - drag.y) / side];
    if (!view.free && Math.hypot(x, y) < 0.01) return; // a tap
    moveTo(turned(drag.from, drag.axes, x, y));
  });
  for (const type of ["pointerup", "pointercancel"]) {
    picture.addEventListener(type, (event) => {
      if (event.pointerId !== drag?.id) return;
      if (type === "pointerup" && view.mode === "map") drag.moved || goTo(view.map.tileAt(...placeOf(event)));
      else if (type === "pointerup" && !view.free) play(!view.playing);
      drag = null;
      picture.classList.remove("held");
    });
  }

  function moveTo(latent) {
    const first = !view.free;
    Object.assign(view, { free: latent, glide: null, playing: false });
    dirty = hinted = true;
    if (first) show();
  }

  function nudge(x, y) {
    if (view.mode === "map") {
      view.map.pan(Math.sign(x), Math.sign(y));
      return void (dirty = true);
    }
    Object.assign(view, { mode: "one", children: null });
    const from = Float32Array.from(latentNow());
    moveTo(turned(from, axesAt(from, 0, drawnAxes), x, y));
  }

  /** Where on the picture a pointer is, each from 0 to 1. */
  function placeOf(event) {
    const box = picture.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  const placeOfCell = (n) => [((n % 3) + 0.5) / 3, (Math.floor(n / 3) + 0.5) / 3];

  /** Nine shows children of a picture off the path, and the walks of nine seeds of one on it. */
  function pick([u, v]) {
    const cell = 3 * Math.min(2, Math.floor(3 * v)) + Math.min(2, Math.floor(3 * u));
    const chosen = view.children?.[cell];
    if (chosen && chosen !== view.free) {
      leave();
      return evolve(chosen);
    }
    Object.assign(view, { mode: "one", children: null });
    if (!chosen && cell > 0) sow(seedAfter(cell));
    else show();
  }

  /** Show a picture among eight children, each turned from it in a direction of its own. */
  function evolve(parent = Float32Array.from(latentNow())) {
    moveTo(parent);
    const children = Array.from({ length: 8 }, () => turned(parent, axesAt(parent, ++drags), CHILD_RADIANS, 0));
    Object.assign(view, { mode: "nine", children: children.toSpliced(4, 0, parent) });
    show();
  }

  function openMap() {
    view.map = new LatentMap(Float32Array.from(latentNow()), (latents) => framesAt(latents.map((z) => main.near(z, view.t))), drawnAxes);
    Object.assign(view, { mode: "map", playing: false, children: null });
    show();
  }

  function roam(box, event) {
    view.map.pan(((drag.x - event.clientX) * ACROSS) / box.width, ((drag.y - event.clientY) * ACROSS) / box.height);
    drag.moved ||= Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) > 5;
    Object.assign(drag, { x: event.clientX, y: event.clientY });
    dirty = true;
    if (drag.moved) $("hint").classList.add("gone");
  }

  function goTo(tile) {
    if (view.free) leave();
    view.mode = "one";
    moveTo(view.map.latentOf(tile));
    show();
  }

  // What the person takes away: film, clip, picture, page, walk, link.

  formats(info.width * enlarge, info.height * enlarge).then((found) => {
    for (const one of found) films.set(one.container, one);
    kind = found[0]?.container ?? "WebP";
    $("kind").append(...[...films.keys(), "WebP", "GIF"].map((name) => new Option(name)));
    $("kind").value = kind;
    show();
  });
  $("kind").addEventListener("change", () => {
    kind = $("kind").value;
    show();
  });

  const taken = () => new Taken(generator, walk, view.crisp, (small) => {
    if (view.making && view.mode === "one") picture.getContext("2d").drawImage(small, 0, 0, picture.width, picture.height);
  });

  /** Make a file that takes a while. `make(taken, onProgress, signal)` gives it. */
  async function making(make) {
    if (view.making) return view.making.abort();
    const copy = taken();
    const { signal } = (view.making = new AbortController());
    const bar = $("record-progress");
    bar.hidden = false;
    show();
    try {
      save(await make(copy, (share) => (bar.value = share), signal));
    } catch (error) {
      toast(error.name === "AbortError" ? "Stopped" : `No file was made: ${error.message}`);
    } finally {
      Object.assign(bar, { hidden: true, value: 0 });
      view.making = null;
      show();
    }
  }

  const make = () => making((copy, ...given) => (films.has(kind) ? copy.film(films.get(kind), ...given) : copy.clip(kind, ...given)));
  const savePicture = async () => {
    const latent = view.mode === "map" ? view.map.latentOf(view.map.middle) : latentNow();
    save(await taken().picture(Float32Array.from(latent), view.t, view.mix));
  };
  const savePage = () => save(new File([pageWith(toHash(walk, info))], `walk-${walk.seed}.html`, { type: "text/html" }));
  const saveWalk = () => save(new File([toJson(walk, generator.info)], `walk-${walk.seed}.json`, { type: "application/json" }));

  function save(file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    toast(`Saved ${file.name}`);
    // The share sheet wants a press of its own: that of Film may lie minutes back.
    const share = $("share");
    share.hidden = !navigator.canShare?.({ files: [file] });
    share.textContent = `Share ${file.name}`;
    share.onclick = () => navigator.share({ files: [file] }).catch((error) => error.name === "AbortError" || toast(`Not shared: ${error.message}`));
  }

  async function load(file) {
    try {
      if (file.size > MOST_BYTES) throw new Error("This file is too large to be a walk.");
      const content = fromJson(await file.text(), info);
      leave();
      Object.assign(walk, content);
      Object.assign(view, { t: 0, mix: null, free: null, glide: null, mode: "one", children: null });
      changed();
      toast(`Loaded ${file.name}`);
    } catch (error) {
      toast(error.message);
    }
  }

  async function copyLink() {
    commit();
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    toast(copied ? "Link copied: it holds this walk" : "The address bar holds this walk");
  }

  // Controls and keys.

  async function fullScreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (!$("stage").classList.toggle("fills")) return;
    await $("stage").requestFullscreen?.().catch(() => {}); // on iPhones a page cannot go full screen
  }
  addEventListener("fullscreenchange", () => $("stage").classList.toggle("fills", !!document.fullscreenElement));

  function toggle(key) {
    if (key === "closed") {
      walk.closed = !walk.closed || ALWAYS_CLOSED.includes(walk.path);
      return changed();
    }
    if (key === "crisp") view.crisp = !view.crisp;
    else if (view.mode === key) Object.assign(view, { mode: "one", children: null });
    else if (key === "map") return openMap();
    else if (view.free) return evolve(view.free);
    else Object.assign(view, { mode: "nine", glide: null });
    show();
  }

  function setTruncation(value) {
    walk.truncation = value;
    stripLater();
    show();
  }

  function stripLater() {
    clearTimeout(stripLater.timer);
    stripLater.timer = setTimeout(() => strip.show(walk.keyframes, used(walk.path, walk.keyframes.length)), 300);
  }

  const actions = {
    play: () => play(!view.playing), roll, add: keep, keep, evolve: () => evolve(), return: () => play(true), undo, full: fullScreen, "sliders-reset": () => setDirections([], true),
    record: make, still: savePicture, page: savePage, link: copyLink, save: saveWalk, load: () => $("file").click(),
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  for (const [id, key] of [["loop", "closed"], ["crisp", "crisp"], ["nine", "nine"], ["map", "map"]]) $(id).addEventListener("click", () => toggle(key));
  $("truncation").addEventListener("input", (event) => setTruncation(event.target.valueAsNumber));
  $("speed").addEventListener("input", (event) => {
    walk.speed = 2 ** event.target.valueAsNumber;
    show();
  });
  for (const id of ["truncation", "speed"]) $(id).addEventListener("change", () => (commit(), show()));
  $("path").addEventListener("change", (event) => {
    const path = event.target.value;
    if (walk.keyframes.length < leastKeyframes(path)) toast("This path needs two keyframes.");
    else walk.path = path;
    changed();
  });
  $("seek").addEventListener("input", (event) => {
    seek(event.target.valueAsNumber);
    if (view.playing) play(false);
  });
  $("seed-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const seed = checkedSeed($("seed").value);
    $("seed").classList.toggle("wrong", seed === null);
    if (seed === null) return toast("A seed is a whole number from 0 to 2⁶⁴ − 1.");
    $("seed").blur();
    sow(seed);
  });
  $("seed").addEventListener("change", () => $("seed-form").requestSubmit());
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) load(file);
  });
  const encoder = async () => Encoder.open(await runtime(), await extra("encoder"), info);
  const takePhoto = info.extras.includes("encoder") && takePhotos($("photo-group"), encoder, info, {
    failed: toast,
    found({ latent, label }) {
      if (view.making) return;
      if (view.free) leave();
      if (label !== null) Object.assign(walk, { labels: [label] }), (view.mix = null);
      Object.assign(view, { mode: "one", children: null });
      if (label !== null) changed();
      moveTo(latent);
      show();
      toast("This is how the network sees your picture. Keep puts it on the walk.");
    },
  });
  soundBy($("sound-group"), FPS, {
    failed: toast,
    heard(sound, name) {
      Object.assign(view, { sound, gain: 1 });
      if (sound) play(true);
      show();
      $("sound-note").hidden = !sound;
      if (sound) toast(`Moved by ${name}`);
    },
  });

  const stateOf = async (name) => Generator.open(await runtime(), await extra(name), info, "wasm");
  travelBy($("past-group"), info.extras, stateOf, (state) => {
    if (view.making) return;
    generator.use(state);
    thumbnails.clear();
    stripLater();
    show();
  }, toast);

  const quiz = quizIn($("quiz"), info, extra, async () => {
    const weights = new Float32Array(info.classes);
    weights[Math.floor(Math.random() * info.classes)] = 1;
    const [picture] = await generator.frames([gaussian(crypto.getRandomValues(new Uint32Array(1))[0], 0, info.z_dim)], [weights]);
    return picture;
  });
  $("quiz-open").addEventListener("click", () => {
    play(false);
    quiz().catch((error) => toast(`There is no quiz: ${error.message ?? error}`));
  });
  $("quiz-group").hidden = !info.extras.includes("reals");

  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) (takePhoto && file.type.startsWith("image/") ? takePhoto : load)(file);
  });
  const frameBack = (by) => {
    view.playing = false;
    const t = view.t + by / Math.max(1, framesOf(walk));
    seek(walk.closed ? (t + 1) % 1 : Math.min(1, Math.max(0, t)));
    show();
  };
  const keys = {
    " ": () => play(!view.playing), r: roll, k: keep, l: () => toggle("closed"), c: () => toggle("crisp"),
    g: () => toggle("nine"), m: () => toggle("map"), e: () => evolve(), u: undo, f: fullScreen, "?": () => $("help").showModal(),
    ArrowLeft: () => frameBack(-1), ArrowRight: () => frameBack(1),
    Escape: () => {
      if ($("stage").classList.contains("fills")) $("stage").classList.remove("fills");
      else if (view.mode !== "one") toggle(view.mode);
    },
    Enter: () => view.mode === "map" && goTo(view.map.middle),
    ...Object.fromEntries(Array.from({ length: 9 }, (_, n) => [n + 1, () => view.mode === "nine" && pick(placeOfCell(n))])),
  };

  // Gamepads and MIDI controllers.

  const ranges = () => [...document.querySelectorAll("#sliders input"), $("truncation"), $("speed")];
  const goToKeyframe = (i) => {
    strip.on.choose((i + walk.keyframes.length) % walk.keyframes.length);
    $("seek").value = view.t; // also where it has the focus
  };
  const nearest = () => Math.round(view.t * main.segments);
  const gamepads = new Gamepads(ranges, {
    stick(x, y, seconds) {
      if (!x && !y) return;
      if (view.mode === "one") return nudge(x * STICK_RADIANS * seconds, y * STICK_RADIANS * seconds);
      if (view.mode === "map") view.map.pan(x * STICK_TILES * seconds, y * STICK_TILES * seconds);
      else if (Math.hypot(x, y) > 0.5) view.aim = 4 + Math.round(x) + 3 * Math.round(y);
      dirty = true;
    },
    choose() {
      if (view.mode === "nine") pick(placeOfCell(view.aim ?? 4));
      else if (view.mode === "map") goTo(view.map.middle);
      else keep();
    },
    play: actions.play, evolve: actions.evolve, roll, undo,
    map: () => toggle("map"), before: () => goToKeyframe(nearest() - 1), next: () => goToKeyframe(nearest() + 1),
  }, (name) => toast(`Gamepad: ${name}. What it does is behind the button ?`));
  const midiRow = $("midi").closest("dt");
  midiRow.hidden = midiRow.nextElementSibling.hidden = !navigator.requestMIDIAccess;
  $("midi").addEventListener("click", async () => {
    $("help").close();
    try {
      const found = await listenToMidi(ranges, (note) => {
        if (view.making) return;
        if (view.mode !== "nine") goToKeyframe((note % 12) % walk.keyframes.length); // C is the first
        else if (note % 12 < 9) pick(placeOfCell(note % 12));
      });
      toast(found.length ? `MIDI: ${found.join(", ")}` : "MIDI: nothing is plugged in yet.");
    } catch (error) {
      toast(`MIDI cannot be used: ${error.message ?? error}`);
    }
  });

  const nudges = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") && event.target.type !== "range";
    const arrow = nudges[event.key];
    if (typing || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      return event.shiftKey ? history.forward() : undo();
    }
    if (arrow && event.target.type === "range") return;
    if ([" ", "Enter"].includes(event.key) && event.target.matches("button, summary")) return; // the key presses that button
    const action = arrow && event.shiftKey ? () => nudge(arrow[0] * 0.05, arrow[1] * 0.05) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // Set up the page once.

  document.documentElement.style.setProperty("--aspect", info.width / info.height);
  $("class-group").hidden = !info.classes;
  $("page").hidden = !pageWith;
  setTimeout(() => $("hint").classList.toggle("gone", (hinted = true)), 20_000);
  $("link").hidden = location.protocol === "file:"; // which leads nowhere on another computer
  $("about").textContent = `${info.width} × ${info.height} pixels. ${generator.runsOn}.`;
  changed();
  requestAnimationFrame(tick);
  return {
    walk, generator,
    latent: (i) => main.latent(i),
    weights: (i) => main.weights(main.time(i)),
  };
}

export function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  clearTimeout(toast.later);
  toast.later = setTimeout(() => $("toast").classList.remove("shown"), 3200);
}

/** Set up the controls that need no generator, then open the generator and start the page. */
export async function boot(open, pageWith) {
  document.body.classList.add("loading");
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  try {
    window.vidgan = start(await open(), pageWith); // for the browser's console and for tests
    $("status").textContent = "";
  } catch (error) {
    $("status").textContent = "";
    $("sorry").textContent = `This page could not start: ${error.message ?? error}. It needs a browser of 2024 or later with WebAssembly.`;
    throw error;
  } finally {
    document.body.classList.remove("loading");
  }
}
