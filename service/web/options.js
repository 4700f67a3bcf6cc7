import { showValues, watchSwatches } from "./controls.js";

/**
 * The options form: what is chosen, which controls make sense together, and the request
 * parameters it stands for. Defaults of the API are left out, so the same list is what we
 * send and what the curl line shows.
 */

/** Reads the form into plain values. */
export function readOptions(form) {
  const fields = form.elements;
  return {
    model: fields.model.value,
    output: fields.output.value,
    background: fields.background.value,
    blur: Number(fields.blur.value),
    colour: fields.colour.value,
    backdrop: fields.backdrop.files[0] ?? null,
    format: fields.format.value,
    threshold: fields.hard.checked ? Number(fields.threshold.value) : null,
    grow: Number(fields.grow.value),
    feather: Number(fields.feather.value),
    margin: fields.crop.checked ? Number(fields.margin.value) : null,
    invert: fields.invert.checked,
  };
}

/** Nothing can be sent while a background picture is asked for and none is chosen. */
export function isComplete(options) {
  return !(options.output === "composite" && options.background === "image" && !options.backdrop);
}

/** @returns {[string, string | File][]} in the order a person would write them */
export function parameters(options) {
  return [
    ["output", options.output, "mask"],
    ...(options.output === "composite" ? [backgroundOf(options)] : []),
    ["format", options.format, "png"],
    ["model", options.model, "auto"],
    ["threshold", options.threshold, null],
    ["grow", options.grow, 0],
    ["feather", options.feather, 0],
    ["crop", options.margin !== null, false],
    ["crop_margin", options.margin ?? 0, 0],
    ["invert", options.invert, false],
  ]
    .filter(([, value, standard]) => value !== standard)
    .map(([name, value]) => [name, value instanceof File ? value : String(value)]);
}

function backgroundOf({ background, blur, colour, backdrop }) {
  if (background === "image") return ["background_image", backdrop, null];
  return ["background", background === "blur" ? `blur:${blur}` : colour, "blur:3"];
}

/**
 * Keeps the form consistent and reports each change the user makes.
 * @param {(change: {settled: boolean}) => void} changed  settled is false while a slider moves
 */
export function watchOptions(form, changed) {
  const refresh = () => showRelevant(form);
  form.addEventListener("input", (event) => {
    refresh();
    changed({ settled: event.target.type !== "range" && event.target.type !== "color" });
  });
  form.addEventListener("reset", () => {
    // The values are restored only after the event has been dispatched.
    queueMicrotask(() => { refresh(); changed({ settled: true }); });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  watchSwatches(form, () => { refresh(); changed({ settled: true }); });
  refresh();
}

function showRelevant(form) {
  const fields = form.elements;
  const composite = fields.output.value === "composite";
  form.querySelector("#background").hidden = !composite;
  for (const detail of form.querySelectorAll("[data-background]")) {
    detail.hidden = detail.dataset.background !== fields.background.value;
  }
  form.querySelector("#threshold-detail").hidden = !fields.hard.checked;
  form.querySelector("#crop-detail").hidden = !fields.crop.checked;

  const transparent = fields.output.value === "cutout";
  const jpeg = form.querySelector("[name=format][value=jpeg]");
  jpeg.disabled = transparent;
  form.querySelector("#jpeg-note").hidden = !transparent;
  if (transparent && jpeg.checked) fields.format.value = "png";

  showValues(form);
  form.querySelector("#backdrop-name").textContent = fields.backdrop.files[0]?.name ?? "None yet";
}
