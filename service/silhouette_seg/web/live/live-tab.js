/** The live tab: streams the camera to the service and shows the results. */

import { showModels } from "../ui/controls.js";
import { showFacts } from "../ui/fact-list.js";
import { rememberForm } from "../ui/form-memory.js";
import { asProblem, problemCard } from "../ui/problem-card.js";
import { saveBlob } from "../ui/save-blob.js";
import { cameraEnded, closeCamera, listCameras, openCamera } from "./camera.js";
import { initLiveOptions, readLiveOptions, showTransports } from "./live-options.js";
import { statsRows } from "./live-stats.js";
import { snapshot } from "./snapshot.js";
import { WebRTCStream } from "./webrtc-stream.js";
import { WebSocketStream } from "./websocket-stream.js";

/** Milliseconds for which a slider must rest before the options of the stream change. */
const SLIDER_DEBOUNCE_MS = 120;
const STATS_INTERVAL_MS = 1000;
const TRANSPORTS = { websocket: WebSocketStream, webrtc: WebRTCStream };

const byId = (id) => document.getElementById(id);
const live = byId("live");
const form = byId("live-options");
const preview = byId("camera");
const card = problemCard({
  card: byId("live-problem"), title: byId("live-problem-title"), detail: byId("live-problem-detail"),
  meta: byId("live-problem-meta"), retry: byId("live-retry"),
});

let key = null; // see keyForm
let stream = null; // the current stream; events of an earlier one are ignored
let debounce = 0;
let statsTimer = 0;
let startAfterKey = false;

/**
 * Sets the state of the tab, and shows a message.
 *
 * @param {"off" | "starting" | "live"} state
 */
function setState(state, message) {
  live.dataset.state = state;
  byId("live-start").disabled = state === "starting";
  byId("live-actions").hidden = state === "off";
  byId("live-snapshot").disabled = byId("live-fullscreen").disabled = state !== "live";
  byId("live-stage").setAttribute("aria-busy", String(state === "starting"));
  byId("live-status").textContent = message;
}

async function start() {
  stop("");
  const session = (stream = new TRANSPORTS[form.elements.transport.value](key.value));
  const isCurrent = () => stream === session;
  card.hide();
  setState("starting", "Waiting for the camera…");
  try {
    if (!(await showCamera(await openCamera(form.elements.camera.value), isCurrent))) return;
    setState("starting", "Connecting…");
    handleEvents(session, isCurrent);
    await session.start(preview, await readLiveOptions(form));
    if (isCurrent()) configure(); // options may have changed meanwhile
  } catch (error) {
    if (isCurrent()) fail(error);
  }
}

/**
 * Plays the camera in the page.
 *
 * @returns {Promise<boolean>} false if the stream was stopped meanwhile; the camera is closed then
 */
async function showCamera(camera, isCurrent) {
  if (!isCurrent()) {
    closeCamera(camera);
    return false;
  }
  camera.getVideoTracks()[0].onended = () => { if (isCurrent()) fail(cameraEnded()); };
  preview.srcObject = camera;
  await preview.play();
  await showCameraList(camera);
  return isCurrent();
}

async function showCameraList(camera) {
  const select = form.elements.camera;
  const cameras = await listCameras();
  select.replaceChildren(...cameras.map(({ label, deviceId }, index) => new Option(label || `Camera ${index + 1}`, deviceId)));
  select.value = camera.getVideoTracks()[0].getSettings().deviceId;
  byId("live-cameras").hidden = cameras.length < 2;
}

function handleEvents(session, isCurrent) {
  session.onframe = () => { if (isCurrent() && live.dataset.state !== "live") showView(session); };
  session.onnotice = (text) => { if (isCurrent()) byId("live-status").textContent = text; };
  session.onclose = (problem) => { if (isCurrent()) fail(problem); };
}

/** Shows the element `view` of a stream, which displays its results, and marks the tab as live. */
function showView({ view }) {
  const hadFocus = document.activeElement === byId("live-start") || document.activeElement === document.body;
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", "You in front of the new background");
  byId("live-result").replaceChildren(view);
  setState("live", "Live. Your video is sent to this server and back; it is not stored.");
  if (hadFocus) byId("live-stop").focus({ preventScroll: true });
  startStats(stream);
}

function startStats(session) {
  let previous = null;
  const update = async () => {
    const current = { atMs: performance.now(), ...(await session.stats()) };
    if (stream !== session) return;
    if (previous) showFacts(byId("live-stats-list"), statsRows(previous, current));
    byId("live-stats").hidden = previous === null;
    previous = current;
  };
  byId("round-trip-note").textContent = session.roundTripNote;
  statsTimer = setInterval(update, STATS_INTERVAL_MS);
  update();
}

function configure() {
  clearTimeout(debounce);
  const session = stream;
  debounce = setTimeout(async () => {
    try {
      const options = await readLiveOptions(form);
      if (session && stream === session) session.configure(options);
    } catch {
      byId("live-status").textContent = "That image cannot be read. Choose another one.";
    }
  }, SLIDER_DEBOUNCE_MS);
}

function stop(message) {
  clearInterval(statsTimer);
  clearTimeout(debounce);
  stream?.stop();
  stream = null;
  closeCamera(preview.srcObject);
  preview.srcObject = null;
  byId("live-result").replaceChildren();
  setState("off", message);
}

function fail(error) {
  const problem = asProblem(error);
  stop("Live video is off.");
  startAfterKey = problem.status === 401;
  if (startAfterKey) key.prompt();
  else card.show(problem);
}

/** Saves the newest result as a picture, as it is shown. */
async function saveSnapshot() {
  saveBlob(await snapshot(stream.view, form.elements.mirror.checked), "silhouette-live.png");
}

function showMirrored() {
  live.classList.toggle("mirrored", form.elements.mirror.checked);
}

/** Restarts a running stream if the changed form field `name` is its transport or camera. */
function restartFor(name) {
  if (stream && ["transport", "camera"].includes(name)) start();
}

/**
 * Starts the live tab, whose elements are those of live-view.html.
 *
 * @param {import("../ui/key-form.js").ApiKey} apiKey
 * @returns {{leave: () => void, showChoices: (choices: object) => void}}
 *   `leave` stops the camera; call it when another tab is selected. `showChoices` gets the models and
 *   transports of the server.
 */
export function liveTab(apiKey) {
  key = apiKey;
  const turnOff = () => stop("The camera is off.");
  rememberForm(form);
  initLiveOptions(form, () => {
    showMirrored();
    if (stream) configure();
  });
  showMirrored();
  form.addEventListener("change", (event) => restartFor(event.target.name));
  byId("live-start").addEventListener("click", start);
  byId("live-retry").addEventListener("click", start);
  byId("live-stop").addEventListener("click", () => {
    turnOff();
    byId("live-start").focus({ preventScroll: true });
  });
  byId("live-snapshot").addEventListener("click", saveSnapshot);
  byId("live-fullscreen").addEventListener("click", () => byId("live-screen").requestFullscreen());
  byId("live-fullscreen").hidden = !document.fullscreenEnabled;
  addEventListener("pagehide", turnOff);
  // A stream that is still starting has the key of before.
  key.onSubmit(() => { if (startAfterKey || live.dataset.state === "starting") start(); });
  return {
    showChoices({ models, failed, streams }) {
      showModels(form, { models, failed });
      showTransports(form, byId("transport-note"), streams);
    },
    leave() {
      startAfterKey = false;
      card.hide();
      turnOff();
    },
  };
}
