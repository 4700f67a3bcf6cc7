/** The photo tab: sends a photo with the selected options and shows the result. */

import { segment, SEGMENT_PATH } from "../api/client.js";
import { curlCommand } from "../api/curl.js";
import { Problem } from "../api/problem.js";
import { percent, showFacts } from "../ui/fact-list.js";
import { asProblem, problemCard } from "../ui/problem-card.js";
import { visibleRegion } from "./crop-geometry.js";
import { resultName } from "./file-name.js";
import { watchPhotoInputs } from "./photo-input.js";
import { initPhotoOptions, isComplete, readOptions, requestParameters } from "./photo-options.js";
import { setPlacementFromBox } from "./placement.js";
import { facesLabel, foregroundOf, resultFacts } from "./result-facts.js";
import { photoStage } from "./stage.js";
import { formatMs, parseServerTiming, showTimings } from "./timings.js";

/** Milliseconds for which a slider must rest before a request is sent. */
const SLIDER_DEBOUNCE_MS = 180;
const COPIED_MS = 1600;
const OUTPUT_LABELS = { mask: "Mask", cutout: "Cut-out", composite: "Composite", trimap: "Trimap" };

const byId = (id) => document.getElementById(id);
const main = byId("main");
const form = byId("options");
const stage = photoStage({
  frame: byId("frame"), before: byId("before"), after: byId("after"), tag: byId("after-tag"), slider: byId("slider"),
});
const card = problemCard({
  card: byId("problem"), title: byId("problem-title"), detail: byId("problem-detail"),
  meta: byId("problem-meta"), retry: byId("retry"),
});

let photo = null;
let key = null; // see keyForm
let request = null; // the AbortController of the newest request
let debounce = 0;

/**
 * Sets the state of the tab, and shows a message.
 *
 * @param {"empty" | "waiting" | "working" | "done" | "failed"} state
 */
function setState(state, message) {
  main.dataset.state = state;
  byId("frame").setAttribute("aria-busy", String(state === "working"));
  byId("status").textContent = message;
}

async function choosePhoto(file) {
  photo = file;
  card.hide();
  byId("actions").hidden = byId("report").hidden = true;
  showCurl();
  const preview = stage.showPhoto(file, () => photo !== file);
  send();
  const shown = await preview;
  if (photo === file) main.classList.toggle("has-photo", shown);
}

/** Aborts the request, and disables the download: the result on display has earlier options. */
function withdrawResult() {
  clearTimeout(debounce);
  request?.abort();
  const download = byId("download");
  download.removeAttribute("href");
  download.setAttribute("aria-disabled", "true");
}

function hideResult() {
  byId("actions").hidden = byId("report").hidden = true;
  stage.clearResult();
}

/** Aborts an earlier request, sends the photo with the current options, and shows the result. */
async function send() {
  withdrawResult();
  if (!photo) return;
  const options = readOptions(form);
  if (!isComplete(options)) {
    hideResult();
    setState("waiting", "Choose a background image.");
    return;
  }
  request = new AbortController();
  const { signal } = request;
  setState("working", "Processing…");
  try {
    const response = await segment(photo, requestParameters(options), { key: key.value, signal });
    if (!signal.aborted) await showResult(response, options, signal);
  } catch (error) {
    if (!signal.aborted) showProblem(error);
  }
}

async function showResult({ blob, headers, roundTripMs }, options, signal) {
  const label = OUTPUT_LABELS[options.output];
  const shown = await stage.showResult(blob, {
    label,
    alt: `${label} of ${photo.name}`,
    regionOf: (photoSize, resultSize) => visibleRegion(headers, photoSize, resultSize, options.margin ?? 0),
    isStale: () => signal.aborted,
  });
  if (signal.aborted) return;
  if (!shown) throw new Problem({ title: "This browser cannot show the result" });

  if (!form.elements.move.checked) setPlacementFromBox(form.elements, headers, shown.photo);
  const dominantOnly = options.person === "dominant";
  showFacts(byId("facts"), resultFacts(headers, { ...shown, bytes: blob.size, type: blob.type, dominantOnly }));
  showTimings(
    { timeline: byId("timeline"), list: byId("timing"), total: byId("timing-total") },
    parseServerTiming(headers.get("Server-Timing")), roundTripMs,
  );
  main.classList.add("has-photo");
  const download = byId("download");
  download.href = shown.url;
  download.download = resultName(photo.name, options);
  download.removeAttribute("aria-disabled");
  card.hide();
  byId("actions").hidden = byId("report").hidden = false;
  setState("done", summary(headers, roundTripMs));
}

function summary(headers, roundTripMs) {
  const { found, doubtful, coverage } = foregroundOf(headers);
  const faces = facesLabel(headers);
  if (faces) return `${faces}. Done in ${formatMs(roundTripMs)}.`;
  if (!found) return "No person was found in this photo, so the mask is empty.";
  const size = coverage === null ? "" : `, ${percent(coverage)} of the photo`;
  const result = doubtful ? "Perhaps a person" : "Person found";
  return `${result}${size}. Done in ${formatMs(roundTripMs)}.`;
}

function showProblem(error) {
  const problem = asProblem(error);
  hideResult();
  setState("failed", "There is no result for this photo.");
  if (problem.status === 401) {
    card.hide();
    key.prompt();
  } else {
    card.show(problem);
  }
}

function showCurl() {
  const options = readOptions(form);
  const photoName = photo?.name ?? "photo.jpg";
  const placeholder = { ...options, backgroundImage: new File([], "background.jpg") };
  byId("curl").textContent = curlCommand({
    url: new URL(SEGMENT_PATH, document.baseURI).href,
    photoName,
    parameters: requestParameters(isComplete(options) ? options : placeholder),
    resultName: resultName(photoName, options),
    withKey: Boolean(key.value),
  });
}

async function copyCurl() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    button.textContent = "Copied";
  } catch {
    // No clipboard without a secure context: select the text, so that Ctrl+C copies it.
    getSelection().selectAllChildren(byId("curl"));
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}

/**
 * Starts the photo tab.
 *
 * @param {import("../ui/key-form.js").ApiKey} apiKey
 * @param {() => void} onPhoto  called for each photo that is chosen, dropped or pasted on the page
 */
export function photoTab(apiKey, onPhoto) {
  key = apiKey;
  watchPhotoInputs({ input: byId("photo"), page: document.documentElement }, (file) => {
    onPhoto();
    choosePhoto(file);
  });
  initPhotoOptions(form, ({ settled }) => {
    showCurl();
    withdrawResult();
    if (settled) send();
    else debounce = setTimeout(send, SLIDER_DEBOUNCE_MS);
  });
  byId("retry").addEventListener("click", send);
  byId("copy").addEventListener("click", copyCurl);
  key.onSubmit(() => { showCurl(); send(); });
  showCurl();
}
