import { showValues, watchSwatches } from "./controls.js";

/** Longer side of a background picture that is sent: more than a camera's frame has to show. */
const PICTURE_SIDE = 1280;

/**
 * The options of a stream as the server takes them. A picture that was not chosen yet is left
 * out: the background then stays what it was.
 *
 * @returns {Promise<Record<string, string | number>>}
 * @throws {Error} the picture is none that this browser can read
 */
export async function readLive(form) {
  const fields = form.elements;
  const common = { model: fields.model.value, smoothing: Number(fields.smoothing.value) };
  if (fields.scene.value === "mask") return { ...common, output: "mask" };
  return { ...common, output: "composite", ...(await backgroundOf(fields)) };
}

/** @returns {object | null} what `now` says otherwise than `before`; null if that is nothing */
export function changed(before, now) {
  const news = Object.entries(now).filter(([name, value]) => before[name] !== value);
  return news.length ? Object.fromEntries(news) : null;
}

/** Keeps the form consistent and reports each change. */
export function watchLive(form, reported) {
  const refresh = () => showRelevant(form);
  const report = () => { refresh(); reported(); };
  form.addEventListener("input", report);
  form.addEventListener("submit", (event) => event.preventDefault());
  watchSwatches(form, report);
  refresh();
}

function showRelevant(form) {
  const fields = form.elements;
  for (const detail of form.querySelectorAll("[data-scene]")) {
    detail.hidden = detail.dataset.scene !== fields.scene.value;
  }
  form.querySelector("#live-backdrop-name").textContent = fields.backdrop.files[0]?.name ?? "None yet";
  showValues(form);
}

async function backgroundOf({ scene, blur, colour, backdrop }) {
  if (scene.value === "blur") return { background: `blur:${blur.value}` };
  if (scene.value === "colour") return { background: colour.value };
  const [file] = backdrop.files;
  return file ? { background_image: await small(file) } : {};
}

const made = new WeakMap();

/** As a JPEG in base64, so that it fits into one message; made once for each file. */
function small(file) {
  if (!made.has(file)) made.set(file, shrink(file));
  return made.get(file);
}

async function shrink(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, PICTURE_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.9).split(",")[1];
}
