/** The form of live options: its values and its dependent controls. */

import { initSwatches, showValues } from "../ui/controls.js";

/** Largest longer side, in pixels, of a background image that is sent: larger than a camera frame. */
const MAX_BACKGROUND_SIDE = 1280;
const JPEG_QUALITY = 0.9;

/**
 * Reads the form as options of the API. A background image that was not chosen yet is left out, so
 * the stream keeps its background.
 *
 * @returns {Promise<Record<string, string | number>>}
 * @throws {Error} this browser cannot read the background image
 */
export async function readLiveOptions(form) {
  const fields = form.elements;
  const common = { model: fields.model.value, smoothing: Number(fields.smoothing.value) };
  if (fields.scene.value === "mask") return { ...common, output: "mask" };
  return { ...common, output: "composite", ...(await backgroundOptions(fields)) };
}

/** @returns {object | null} the options of `current` that differ from `previous`, or null */
export function changedOptions(previous, current) {
  const changes = Object.entries(current).filter(([name, value]) => previous[name] !== value);
  return changes.length ? Object.fromEntries(changes) : null;
}

/**
 * Disables WebRTC if the server cannot use it, and says what to install there.
 *
 * @param {string[]} transports  as the server reports them
 */
export function showTransports(form, note, transports) {
  if (transports.includes("webrtc")) return;
  const [, webrtc] = form.elements.transport;
  webrtc.disabled = true;
  note.textContent = "This server has no WebRTC. Its administrator can run pip install 'silhouette-seg[live]'.";
}

/** Hides the controls without effect, and calls `onChange` after each change by the user. */
export function initLiveOptions(form, onChange) {
  const handleChange = () => { updateControls(form); onChange(); };
  form.addEventListener("input", handleChange);
  form.addEventListener("submit", (event) => event.preventDefault());
  initSwatches(form, handleChange);
  updateControls(form);
}

function updateControls(form) {
  const fields = form.elements;
  for (const detail of form.querySelectorAll("[data-scene]")) {
    detail.hidden = detail.dataset.scene !== fields.scene.value;
  }
  form.querySelector("#live-background-image-name").textContent = fields.background_image.files[0]?.name ?? "None yet";
  showValues(form);
}

async function backgroundOptions({ scene, blur, colour, background_image: input }) {
  if (scene.value === "blur") return { background: `blur:${blur.value}` };
  if (scene.value === "colour") return { background: colour.value };
  const [file] = input.files;
  return file ? { background_image: await encodeBackground(file) } : {};
}

const encodedBackgrounds = new WeakMap();

/** Returns an image file as JPEG in base64, scaled to fit into one message; done once per file. */
function encodeBackground(file) {
  if (!encodedBackgrounds.has(file)) encodedBackgrounds.set(file, scaledJpeg(file));
  return encodedBackgrounds.get(file);
}

async function scaledJpeg(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MAX_BACKGROUND_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", JPEG_QUALITY).split(",")[1];
}
