import { showValues, watchSwatches } from "./controls.js";
import { layoutOf, placementWords, readPlacement } from "./placement.js";

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
    person: fields.person.value,
    background: fields.background.value,
    blur: Number(fields.blur.value),
    colour: fields.colour.value,
    backdrop: fields.backdrop.files[0] ?? null,
    lightWrap: Number(fields.light_wrap.value),
    format: fields.format.value,
    refine: fields.refine.checked,
    decontaminate: fields.decontaminate.checked,
    threshold: fields.hard.checked ? Number(fields.threshold.value) : null,
    grow: Number(fields.grow.value),
    feather: Number(fields.feather.value),
    margin: fields.crop.checked ? Number(fields.margin.value) : null,
    invert: fields.invert.checked,
    layout: isFramed(fields) ? null : layoutOf(readPlacement(fields)),
  };
}

/** A crop follows the person, and an inverted mask has none: neither leaves anything to place. */
function isFramed(fields) {
  return fields.crop.checked || fields.invert.checked;
}

/** Nothing can be sent while a background picture is asked for and none is chosen. */
export function isComplete(options) {
  return !(options.output === "composite" && options.background === "image" && !options.backdrop);
}

/** @returns {[string, string | File][]} in the order a person would write them */
export function parameters(options) {
  return [
    ["output", options.output, "mask"],
    ...(options.output === "composite" ? [backgroundOf(options), ["light_wrap", options.lightWrap, 0]] : []),
    ["format", options.format, "png"],
    ["model", options.model, "auto"],
    ["person", options.person, "all"],
    ["refine", options.refine ? "guided" : "none", "guided"],
    ["decontaminate", options.output === "mask" || options.decontaminate, true],
    ["threshold", options.threshold, null],
    ["grow", options.grow, 0],
    ["feather", options.feather, 0],
    ["crop", options.margin !== null, false],
    ["crop_margin", options.margin ?? 0, 0],
    ["invert", options.invert, false],
    ["layout", options.layout, null],
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
    // The values are restored once every listener has returned: microtasks would be too early.
    setTimeout(() => { refresh(); changed({ settled: true }); });
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
  form.querySelector("#person-note").hidden = fields.person.value !== "dominant";
  form.querySelector("#spill").hidden = fields.output.value === "mask";
  form.querySelector("#threshold-detail").hidden = !fields.hard.checked;
  form.querySelector("#crop-detail").hidden = !fields.crop.checked;
  showPlacement(form);

  const transparent = fields.output.value === "cutout";
  const jpeg = form.querySelector("[name=format][value=jpeg]");
  jpeg.disabled = transparent;
  form.querySelector("#jpeg-note").hidden = !transparent;
  if (transparent && jpeg.checked) fields.format.value = "png";

  showValues(form);
  form.querySelector("#backdrop-name").textContent = fields.backdrop.files[0]?.name ?? "None yet";
}

/** A placement and a frame exclude each other; whichever is there first switches the other off. */
function showPlacement(form) {
  const fields = form.elements;
  const placement = readPlacement(fields);
  const framed = isFramed(fields);
  const placed = !framed && layoutOf(placement) !== null;
  form.querySelector("#placement-controls").hidden = framed;
  form.querySelector("#placement-note").hidden = !framed;
  form.querySelector("#placement-state").textContent = framed ? "" : placementWords(placement);
  form.querySelector("#move-detail").hidden = !placement.moved;
  form.querySelector("#apart-detail").hidden = placement.copies === 1;
  fields.crop.disabled = fields.invert.disabled = placed;
  form.querySelector("#framing-note").hidden = !placed;
}
