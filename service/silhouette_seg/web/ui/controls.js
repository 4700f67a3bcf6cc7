/** Controls of the photo form and the live form: sliders with values, colour swatches, model list. */

const SWATCHES = {
  White: "#ffffff", Mist: "#dfe7e4", Apricot: "#f2c9a8", Blue: "#2f6f8f", Green: "#0b6e60", Ink: "#15191a",
};

/** Adds colour swatches to the form. A click sets the colour field, and then calls `onChange`. */
export function initSwatches(form, onChange) {
  form.querySelector(".swatches").append(...Object.entries(SWATCHES).map(swatchButton));
  form.addEventListener("click", (event) => {
    const colour = event.target.dataset.colour;
    if (!colour) return;
    form.elements.colour.value = colour;
    onChange();
  });
}

function swatchButton([name, colour]) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.colour = colour;
  button.setAttribute("aria-label", name);
  button.style.backgroundColor = colour;
  return button;
}

/** Shows the value of each slider and model list of the form beside it, and marks the selected swatch. */
export function showValues(form) {
  const fields = form.elements;
  for (const output of form.querySelectorAll("output")) {
    const input = fields[output.htmlFor.value];
    if (input instanceof HTMLSelectElement) {
      output.value = input.selectedOptions[0].text;
      continue;
    }
    output.value = `${input.value.replace("-", "−")}${input.dataset.unit ?? ""}`;
    fillTrack(input);
  }
  for (const swatch of form.querySelectorAll("[data-colour]")) {
    swatch.setAttribute("aria-pressed", String(swatch.dataset.colour === fields.colour.value));
  }
}

/**
 * Fills the model list of the form from the answer of `/v1/models`: segmentation models only. The
 * selected model stays selected if it is still available. Failed models cannot be selected.
 */
export function showModels(form, { auto, models, failed = [] }) {
  const select = form.elements.model;
  const selected = select.value;
  const names = models.filter(({ task }) => task === "segmentation").map(({ name }) => name);
  const automatic = new Option(auto ? `Automatic (${auto})` : "Automatic", "auto");
  const served = names.map((name) => new Option(name, name));
  const unavailable = failed
    .filter(({ name }) => !names.includes(name) && name !== "face_detector")
    .map(({ name, reason }) => {
      const option = new Option(`${name} (unavailable)`, name);
      option.disabled = true;
      option.title = reason;
      return option;
    });
  select.replaceChildren(automatic, ...served, ...unavailable);
  select.value = names.includes(selected) ? selected : "auto";
  showValues(form);
}

/** Colours a slider's track from zero, or from its minimum if that is positive, to its value. */
function fillTrack(input) {
  const { min, max, value } = input;
  const percent = (number) => (100 * (number - min)) / (max - min);
  const ends = [percent(Math.max(0, min)), percent(value)].sort((a, b) => a - b);
  input.style.setProperty("--from", `${ends[0]}%`);
  input.style.setProperty("--to", `${ends[1]}%`);
}
