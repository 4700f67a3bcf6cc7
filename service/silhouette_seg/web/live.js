import { cameraEnded, closeCamera, listCameras, openCamera } from "./camera.js";
import { showFacts } from "./facts.js";
import { figureRows } from "./figures.js";
import { readLive, watchLive } from "./live-options.js";
import { asProblem, problemCard } from "./problem-card.js";
import { RtcStream } from "./stream-webrtc.js";
import { SocketStream } from "./stream-socket.js";

/** While a slider moves we wait this long for it to rest. */
const SETTLE_MS = 120;
const FIGURES_MS = 1000;
const TRANSPORTS = { websocket: SocketStream, webrtc: RtcStream };

const byId = (id) => document.getElementById(id);
const live = byId("live");
const form = byId("live-options");
const preview = byId("camera");
const card = problemCard({
  card: byId("live-problem"), title: byId("live-problem-title"), detail: byId("live-problem-detail"),
  meta: byId("live-problem-meta"), retry: byId("live-retry"),
});

let key = null; // see keyForm
let stream = null; // the newest; what an older one still says is not heard
let settling = 0;
let asking = 0; // the timer of the figures
let wantsKey = false;

/** @param {"off" | "starting" | "live"} state */
function enter(state, message) {
  live.dataset.state = state;
  byId("live-start").disabled = state === "starting";
  byId("live-stop").hidden = state === "off";
  byId("live-stage").setAttribute("aria-busy", String(state === "starting"));
  byId("live-status").textContent = message;
}

async function start() {
  stop("");
  const mine = (stream = new TRANSPORTS[form.elements.transport.value](key.value));
  const current = () => stream === mine;
  card.hide();
  enter("starting", "Waiting for the camera…");
  try {
    if (!(await showCamera(await openCamera(form.elements.camera.value), current))) return;
    enter("starting", "Connecting…");
    listen(mine, current);
    await mine.start(preview, await readLive(form));
    if (current()) configure(); // what was changed meanwhile
  } catch (error) {
    if (current()) fail(error);
  }
}

/** @returns {Promise<boolean>} false: we were stopped meanwhile, and the camera is off again */
async function showCamera(camera, current) {
  if (!current()) {
    closeCamera(camera);
    return false;
  }
  camera.getVideoTracks()[0].onended = () => { if (current()) fail(cameraEnded()); };
  preview.srcObject = camera;
  await preview.play();
  await showCameras(camera);
  return current();
}

async function showCameras(camera) {
  const select = form.elements.camera;
  const cameras = await listCameras();
  select.replaceChildren(...cameras.map(({ label, deviceId }, index) => new Option(label || `Camera ${index + 1}`, deviceId)));
  select.value = camera.getVideoTracks()[0].getSettings().deviceId;
  byId("live-cameras").hidden = cameras.length < 2;
}

function listen(mine, current) {
  mine.onframe = () => { if (current() && live.dataset.state !== "live") begin(mine); };
  mine.onnotice = (text) => { if (current()) byId("live-status").textContent = text; };
  mine.onclose = (problem) => { if (current()) fail(problem); };
}

/** The first result is there. */
function begin({ view }) {
  const hadFocus = document.activeElement === byId("live-start") || document.activeElement === document.body;
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", "You, with the new background");
  byId("live-picture").replaceChildren(view);
  enter("live", "Live. The frames go to this server and back; it keeps none.");
  if (hadFocus) byId("live-stop").focus({ preventScroll: true });
  watchFigures(stream);
}

function watchFigures(mine) {
  let before = null;
  const look = async () => {
    const now = { atMs: performance.now(), ...(await mine.stats()) };
    if (stream !== mine) return;
    if (before) showFacts(byId("figures"), figureRows(before, now));
    byId("live-figures").hidden = before === null;
    before = now;
  };
  byId("live-measures").textContent = mine.measures;
  asking = setInterval(look, FIGURES_MS);
  look();
}

function configure() {
  clearTimeout(settling);
  const mine = stream;
  settling = setTimeout(async () => {
    try {
      const options = await readLive(form);
      if (mine && stream === mine) mine.configure(options);
    } catch {
      byId("live-status").textContent = "That picture cannot be read. Choose another one.";
    }
  }, SETTLE_MS);
}

function stop(message) {
  clearInterval(asking);
  clearTimeout(settling);
  stream?.stop();
  stream = null;
  closeCamera(preview.srcObject);
  preview.srcObject = null;
  byId("live-picture").replaceChildren();
  enter("off", message);
}

function fail(error) {
  const problem = asProblem(error);
  stop("Live video is off.");
  wantsKey = problem.status === 401;
  if (wantsKey) key.ask();
  else card.show(problem);
}

function restart(name) {
  if (stream && ["transport", "camera"].includes(name)) start();
}

/**
 * The live tab.
 *
 * @param {ReturnType<import("./key.js").keyForm>} keys
 * @returns {{leave: () => void}} to be called when the tab is left: nobody is filmed unseen
 */
export function liveTab(keys) {
  key = keys;
  const off = () => stop("The camera is off.");
  watchLive(form, () => { if (stream) configure(); });
  form.addEventListener("change", (event) => restart(event.target.name));
  byId("live-start").addEventListener("click", start);
  byId("live-retry").addEventListener("click", start);
  byId("live-stop").addEventListener("click", () => {
    off();
    byId("live-start").focus({ preventScroll: true });
  });
  addEventListener("pagehide", off);
  key.onOffered(() => { if (wantsKey) start(); });
  return {
    leave() {
      wantsKey = false;
      card.hide();
      off();
    },
  };
}
