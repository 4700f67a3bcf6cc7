/** What every form of options has: values beside sliders, and swatches that set a colour. */

export function watchSwatches(form, changed) {
  for (const swatch of form.querySelectorAll("[data-colour]")) {
    swatch.style.backgroundColor = swatch.dataset.colour;
  }
  form.addEventListener("click", (event) => {
    const colour = event.target.dataset.colour;
    if (!colour) return;
    form.elements.colour.value = colour;
    changed();
  });
}

export function showValues(form) {
  const fields = form.elements;
  for (const output of form.querySelectorAll("output")) {
    const input = fields[output.htmlFor.value];
    output.value = `${input.value.replace("-", "−")}${input.dataset.unit ?? ""}`;
    fillTrack(input);
  }
  for (const swatch of form.querySelectorAll("[data-colour]")) {
    swatch.setAttribute("aria-pressed", String(swatch.dataset.colour === fields.colour.value));
  }
}

/** Fills the model list; a choice that is still served stays chosen. */
export function showModels(form, { auto, models }) {
  const select = form.elements.model;
  const chosen = select.value;
  const names = models.filter(({ task }) => task === "segmentation").map(({ name }) => name);
  const named = names.map((name) => new Option(name, name));
  const automatic = new Option(auto ? `Automatic (${auto})` : "Automatic", "auto");
  select.replaceChildren(automatic, ...named);
  select.value = names.includes(chosen) ? chosen : "auto";
}

/** Colours the track from zero, or from the start where zero is out of range, to the value. */
function fillTrack(input) {
  const { min, max, value } = input;
  const share = (number) => (100 * (number - min)) / (max - min);
  const ends = [share(Math.max(0, min)), share(value)].sort((a, b) => a - b);
  input.style.setProperty("--from", `${ends[0]}%`);
  input.style.setProperty("--to", `${ends[1]}%`);
}
