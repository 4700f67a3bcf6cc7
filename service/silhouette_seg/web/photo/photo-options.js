/** The form of photo options: its values, its dependent controls, and its request parameters. */

import { initSwatches, showValues } from "../ui/controls.js";
import { layoutParameter, placementSummary, readPlacement } from "./placement.js";

/** Returns the values of the form as an object with one member per option. */
export function readOptions(form) {
  const fields = form.elements;
  return {
    model: fields.model.value,
    output: fields.output.value,
    person: fields.person.value,
    background: fields.background.value,
    blur: Number(fields.blur.value),
    colour: fields.colour.value,
    backgroundImage: fields.background_image.files[0] ?? null,
    lightWrap: Number(fields.light_wrap.value),
    format: fields.format.value,
    refine: fields.refine.checked,
    decontaminate: fields.decontaminate.checked,
    threshold: fields.hard.checked ? Number(fields.threshold.value) : null,
    grow: Number(fields.grow.value),
    feather: Number(fields.feather.value),
    margin: fields.crop.checked ? Number(fields.margin.value) : null,
    invert: fields.invert.checked,
    layout: excludesPlacement(fields) ? null : layoutParameter(readPlacement(fields)),
  };
}

/** Returns true if the service would reject a placement: with a crop or an inverted mask. */
function excludesPlacement(fields) {
  return fields.crop.checked || fields.invert.checked;
}

/** @returns {boolean} false while the background image is selected but no file is chosen */
export function isComplete(options) {
  return !(options.output === "composite" && options.background === "image" && !options.backgroundImage);
}

/**
 * Converts options into request parameters. Defaults of the API are left out, so that the page sends
 * exactly what the curl command shows.
 *
 * @returns {[string, string | File][]} names and values of `POST /v1/segment`
 */
export function requestParameters(options) {
  return [
    ["output", options.output, "mask"],
    ...(options.output === "composite" ? [backgroundParameter(options), ["light_wrap", options.lightWrap, 0]] : []),
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

function backgroundParameter({ background, blur, colour, backgroundImage }) {
  if (background === "image") return ["background_image", backgroundImage, null];
  return ["background", background === "blur" ? `blur:${blur}` : colour, "blur:3"];
}

/**
 * Hides the controls without effect, and calls `onChange` after each change by the user.
 *
 * @param {(change: {settled: boolean}) => void} onChange  settled is false while a slider moves
 */
export function initPhotoOptions(form, onChange) {
  const update = () => updateControls(form);
  form.addEventListener("input", (event) => {
    update();
    onChange({ settled: event.target.type !== "range" && event.target.type !== "color" });
  });
  form.addEventListener("reset", () => {
    // The values are restored after all listeners have returned, so a microtask would be too early.
    setTimeout(() => { update(); onChange({ settled: true }); });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  initSwatches(form, () => { update(); onChange({ settled: true }); });
  update();
}

/** Hides and disables the controls of the form that have no effect with the selected options. */
function updateControls(form) {
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
  updatePlacementControls(form);

  const transparent = fields.output.value === "cutout";
  const jpeg = form.querySelector("[name=format][value=jpeg]");
  jpeg.disabled = transparent;
  form.querySelector("#jpeg-note").hidden = !transparent;
  if (transparent && jpeg.checked) fields.format.value = "png";

  showValues(form);
  form.querySelector("#background-image-name").textContent = fields.background_image.files[0]?.name ?? "None yet";
}

/**
 * Keeps apart the options that exclude each other: a placement disables crop and inversion, and a
 * crop or an inversion hides the placement.
 */
function updatePlacementControls(form) {
  const fields = form.elements;
  const placement = readPlacement(fields);
  const excluded = excludesPlacement(fields);
  const placed = !excluded && layoutParameter(placement) !== null;
  form.querySelector("#placement-controls").hidden = excluded;
  form.querySelector("#placement-note").hidden = !excluded;
  form.querySelector("#placement-state").textContent = excluded ? "" : placementSummary(placement);
  form.querySelector("#move-detail").hidden = !placement.moved;
  form.querySelector("#spacing-detail").hidden = placement.copies === 1;
  fields.crop.disabled = fields.invert.disabled = placed;
  form.querySelector("#framing-note").hidden = !placed;
}
