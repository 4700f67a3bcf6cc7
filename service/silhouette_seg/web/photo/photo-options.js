/** The form of photo options: its values, its dependent controls, and its request parameters. */

import { initSwatches, showValues } from "../ui/controls.js";
import { layoutParameter, placementSummary, readPlacement } from "./placement.js";

/** Options of the mask and of its placement that change nothing. */
const NO_EDITS = {
  person: "all", lightWrap: 0, refine: true, decontaminate: true, threshold: null, grow: 0, feather: 0,
  invert: false, layout: null,
};

/** Returns the values of the form as an object with one member per option. */
export function readOptions(form) {
  const fields = form.elements;
  return {
    model: fields.model.value,
    output: fields.output.value,
    trimapBand: Number(fields.trimap_band.value),
    background: fields.background.value,
    blur: Number(fields.blur.value),
    colour: fields.colour.value,
    backgroundImage: fields.background_image.files[0] ?? null,
    format: fields.format.value,
    keepMetadata: fields.keep_metadata.checked,
    masks: fields.masks.value || null,
    faces: fields.faces.checked,
    margin: fields.crop.checked ? Number(fields.margin.value) : null,
    ...(blursFaces(fields) ? NO_EDITS : readEdits(fields)),
  };
}

/** Returns the options of the edges as a short text, such as `Refined, grown 3 px`. */
function edgesSummary({ refine, threshold, grow, feather }) {
  const parts = [
    refine ? "Refined" : "Not refined", threshold !== null && "hard",
    grow !== 0 && `${grow > 0 ? "grown" : "shrunk"} ${Math.abs(grow)}\u00a0px`, feather > 0 && `feathered ${feather}\u00a0px`,
  ];
  return parts.filter(Boolean).join(", ");
}

function readEdits(fields) {
  return {
    person: fields.person.value,
    lightWrap: Number(fields.light_wrap.value),
    refine: fields.refine.checked,
    decontaminate: fields.decontaminate.checked,
    threshold: fields.hard.checked ? Number(fields.threshold.value) : null,
    grow: Number(fields.grow.value),
    feather: Number(fields.feather.value),
    invert: fields.invert.checked,
    layout: excludesPlacement(fields) ? null : layoutParameter(readPlacement(fields)),
  };
}

/** Returns true if the result is the photo with blurred faces, for which the mask has no effect. */
function blursFaces(fields) {
  return fields.output.value === "composite" && fields.background.value === "faces";
}

/** Returns true if the service would reject a placement: with a crop, an inverted mask or a trimap. */
function excludesPlacement(fields) {
  return fields.crop.checked || fields.invert.checked || fields.output.value === "trimap";
}

/** Returns true while the person can be moved to any position. */
export function isMovable(form) {
  const fields = form.elements;
  return fields.move.checked && !excludesPlacement(fields) && !blursFaces(fields);
}

/** Returns true for an output that shows no colours of the photo. */
function showsMask(output) {
  return output === "mask" || output === "trimap";
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
    ["trimap_band", options.output === "trimap" ? options.trimapBand : 1, 1],
    ...(options.output === "composite" ? [backgroundParameter(options), ["light_wrap", options.lightWrap, 0]] : []),
    ["format", options.format, "png"],
    ["model", options.model, "auto"],
    ["person", options.person, "all"],
    ["refine", options.refine ? "guided" : "none", "guided"],
    ["decontaminate", showsMask(options.output) || options.decontaminate, true],
    ["threshold", options.threshold, null],
    ["grow", options.grow, 0],
    ["feather", options.feather, 0],
    ["crop", options.margin !== null, false],
    ["crop_margin", options.margin ?? 0, 0],
    ["invert", options.invert, false],
    ["layout", options.layout, null],
    ["keep_metadata", options.keepMetadata, false],
  ].filter(isChanged).map(asParameter);
}

/** Converts options into request parameters of `POST /v1/segment/report`. */
export function reportParameters(options) {
  const lists = [["masks", options.masks, null], ["faces", options.faces, false]];
  return [...requestParameters(options), ...lists.filter(isChanged).map(asParameter)];
}

function isChanged([, value, standard]) {
  return value !== standard;
}

function asParameter([name, value]) {
  return [name, value instanceof File ? value : String(value)];
}

function backgroundParameter({ background, blur, colour, backgroundImage }) {
  if (background === "image") return ["background_image", backgroundImage, null];
  if (background === "faces") return ["background", "blur_faces", null];
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
    if (event.target.closest("[data-report]")) return; // the picture stays the same
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
  for (const control of form.querySelectorAll("[data-mask]")) control.hidden = blursFaces(fields);
  form.querySelector("#placement").hidden = blursFaces(fields) || fields.output.value === "trimap";
  form.querySelector("#trimap-detail").hidden = fields.output.value !== "trimap";
  form.querySelector("#person-note").hidden = fields.person.value !== "dominant";
  form.querySelector("#spill").hidden = showsMask(fields.output.value);
  form.querySelector("#threshold-detail").hidden = !fields.hard.checked;
  form.querySelector("#edges-state").textContent = edgesSummary(readEdits(fields));
  form.querySelector("#crop-detail").hidden = !fields.crop.checked;
  updatePlacementControls(form);

  const withoutJpeg = fields.output.value === "cutout" || fields.output.value === "trimap";
  const jpeg = form.querySelector("[name=format][value=jpeg]");
  jpeg.disabled = withoutJpeg;
  form.querySelector("#jpeg-note").hidden = !withoutJpeg;
  if (withoutJpeg && jpeg.checked) fields.format.value = "png";

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
  const placed = !excluded && !blursFaces(fields) && layoutParameter(placement) !== null;
  form.querySelector("#placement-controls").hidden = excluded;
  form.querySelector("#placement-note").hidden = !excluded;
  form.querySelector("#placement-state").textContent = excluded ? "" : placementSummary(placement);
  form.querySelector("#move-detail").hidden = !placement.moved;
  form.querySelector("#spacing-detail").hidden = placement.copies === 1;
  fields.crop.disabled = fields.invert.disabled = placed;
  form.querySelector("#framing-note").hidden = !placed;
}
