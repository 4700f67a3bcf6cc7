/** The photo tab: sends photos with the selected options and shows their results. */

import { fetchReport } from "../api/client.js";
import { Problem } from "../api/problem.js";
import { percent, showFacts } from "../ui/fact-list.js";
import { rememberForm } from "../ui/form-memory.js";
import { asProblem, problemCard } from "../ui/problem-card.js";
import { saveBlob } from "../ui/save-blob.js";
import { canCopyImages, copyImage } from "./copy-image.js";
import { visibleRegion } from "./crop-geometry.js";
import { curlCard } from "./curl-card.js";
import { reportName, resultName } from "./file-name.js";
import { PhotoBatch } from "./photo-batch.js";
import { selectPhotos, watchPhotoInputs } from "./photo-input.js";
import { initPhotoOptions, isComplete, isMovable, readOptions, reportParameters } from "./photo-options.js";
import { keepPhotos, keptPhotos } from "./photo-store.js";
import { personSizeFromBox, setPlacementFromBox } from "./placement.js";
import { placementDrag } from "./placement-drag.js";
import { facesLabel, foregroundOf, resultFacts } from "./result-facts.js";
import { resultStrip } from "./result-strip.js";
import { watchSamples } from "./samples.js";
import { photoStage } from "./stage.js";
import { formatMs, parseServerTiming, showTimings } from "./timings.js";
import { uniqueNames, zipFile } from "./zip-file.js";

/** Milliseconds for which a slider must rest before a request is sent. */
const SLIDER_DEBOUNCE_MS = 180;
const OUTPUT_LABELS = { mask: "Mask", cutout: "Cut-out", composite: "Composite", trimap: "Trimap" };

const byId = (id) => document.getElementById(id);
const main = byId("main");
const form = byId("options");
const stage = photoStage({
  frame: byId("frame"), before: byId("before"), after: byId("after"), tag: byId("after-tag"), slider: byId("slider"),
  zoom: byId("zoom"),
});
const card = problemCard({
  card: byId("problem"), title: byId("problem-title"), detail: byId("problem-detail"),
  meta: byId("problem-meta"), retry: byId("retry"),
});
const strip = resultStrip({
  card: byId("batch"), list: byId("batch-list"), status: byId("batch-status"), download: byId("download-all"),
}, selectEntry);
const curl = curlCard({ code: byId("curl"), copy: byId("copy") });

let batch = null; // the chosen photos
let key = null; // see keyForm
let debounce = 0;
let personSize = { width: 0, height: 0 }; // in the current photo, as shares of its sides

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

/** Starts a batch with the photos of `files`. Other files are reported, and change nothing. */
function chooseFiles(files) {
  const { photos, problem } = selectPhotos(files);
  if (photos.length) {
    batch?.discardResults();
    const chosen = (batch = new PhotoBatch(photos, (entry) => { if (batch === chosen) showState(entry); }));
    strip.show(batch);
    keepPhotos(photos);
    showPhoto();
    send();
  }
  if (problem) card.show(problem);
}

/** Shows the current photo without its result. */
async function showPhoto() {
  const { current } = batch;
  const isStale = () => batch.current !== current;
  card.hide();
  hideResult();
  showCurl();
  const shown = await stage.showPhoto(current.photo, isStale);
  if (!isStale()) main.classList.toggle("has-photo", shown);
}

function selectEntry(entry) {
  const previous = batch.current;
  batch.current = entry;
  strip.update(batch, previous);
  showPhoto();
  showState(entry);
}

/** Sends all photos with the current options, and discards the results of earlier options. */
function send() {
  withdrawResult();
  if (!batch) return;
  const options = readOptions(form);
  card.hide();
  if (isComplete(options)) {
    batch.send(options, key.value);
  } else {
    hideResult();
    setState("waiting", "Choose a background image.");
  }
}

/** Aborts the requests, and disables the download: the result on display has earlier options. */
function withdrawResult() {
  clearTimeout(debounce);
  batch?.discardResults();
  const download = byId("download");
  download.removeAttribute("href");
  download.setAttribute("aria-disabled", "true");
  byId("copy-image").disabled = byId("save-report").disabled = true;
}

function hideResult() {
  byId("actions").hidden = byId("report").hidden = true;
  stage.clearResult();
}

/** Shows the state of an entry in the strip. That of the current one is shown on the stage, too. */
async function showState(entry) {
  strip.update(batch, entry);
  if (entry !== batch.current) return;
  if (entry.state === "working") setState("working", "Processing…");
  if (entry.state === "failed") showProblem(entry.problem);
  if (entry.state === "done") await showResult(entry).catch(showProblem);
}

async function showResult({ photo, result }) {
  const { blob, headers, roundTripMs, options } = result;
  const isStale = () => batch.current.result !== result;
  const label = OUTPUT_LABELS[options.output];
  const shown = await stage.showResult(blob, {
    label,
    alt: `${label} of ${photo.name}`,
    regionOf: (photoSize, resultSize) => visibleRegion(headers, photoSize, resultSize, options.margin ?? 0),
    isStale,
  });
  if (isStale()) return;
  if (!shown) throw new Problem({ title: "This browser cannot show the result" });

  personSize = personSizeFromBox(headers, shown.photo);
  if (!form.elements.move.checked) setPlacementFromBox(form.elements, headers, shown.photo);
  showReport(result, shown);
  main.classList.add("has-photo");
  const download = byId("download");
  download.href = shown.url;
  download.download = resultName(photo.name, options);
  download.removeAttribute("aria-disabled");
  byId("copy-image").disabled = byId("save-report").disabled = false;
  byId("actions").hidden = byId("report").hidden = false;
  setState("done", summary(headers, roundTripMs));
}

function showReport({ blob, headers, roundTripMs, options }, shown) {
  const dominantOnly = options.person === "dominant";
  showFacts(byId("facts"), resultFacts(headers, { ...shown, bytes: blob.size, type: blob.type, dominantOnly }));
  showTimings(
    { timeline: byId("timeline"), list: byId("timing"), total: byId("timing-total") },
    parseServerTiming(headers.get("Server-Timing")), roundTripMs,
  );
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

function retry() {
  card.hide();
  batch.retry(readOptions(form), key.value);
}

/** Saves the results of all photos as one ZIP file. */
async function saveAll() {
  const done = batch.entries.filter(({ result }) => result);
  const names = uniqueNames(done.map(({ photo, result }) => resultName(photo.name, result.options)));
  try {
    saveBlob(await zipFile(done.map(({ result }, index) => ({ name: names[index], blob: result.blob }))), "silhouette.zip");
  } catch (error) {
    card.show(asProblem(error));
  }
}

async function copyResult() {
  try {
    await copyImage(batch.current.result.blob);
    byId("status").textContent = "The image is on the clipboard.";
  } catch (error) {
    card.show(new Problem({ title: "The image could not be copied", detail: String(error.message) }));
  }
}

async function saveReport() {
  const { photo } = batch.current;
  try {
    saveBlob(await fetchReport(photo, reportParameters(readOptions(form)), key.value), reportName(photo.name));
  } catch (error) {
    card.show(asProblem(error));
  }
}

/** Shows the photos of this tab again after a reload, unless others were chosen meanwhile. */
async function restorePhotos() {
  const photos = await keptPhotos();
  if (photos.length && !batch) chooseFiles(photos);
}

function showCurl() {
  curl.show(batch?.current.photo.name ?? "photo.jpg", readOptions(form), Boolean(key.value));
}

/**
 * Starts the photo tab.
 *
 * @param {import("../ui/key-form.js").ApiKey} apiKey
 * @param {() => void} onPhoto  called when files are chosen, dropped or pasted on the page
 */
export function photoTab(apiKey, onPhoto) {
  key = apiKey;
  watchPhotoInputs({ input: byId("photo"), page: document.documentElement }, (files) => {
    onPhoto();
    chooseFiles(files);
  });
  watchSamples(byId("samples"), { onFiles: chooseFiles, onProblem: (error) => card.show(asProblem(error)) });
  rememberForm(form);
  initPhotoOptions(form, ({ settled }) => {
    showCurl();
    withdrawResult();
    stage.setPlacing(isMovable(form));
    if (settled) send();
    else debounce = setTimeout(send, SLIDER_DEBOUNCE_MS);
  });
  stage.setPlacing(isMovable(form));
  placementDrag({ frame: byId("frame"), outline: byId("outline"), form }, () => personSize);
  byId("retry").addEventListener("click", retry);
  byId("download-all").addEventListener("click", saveAll);
  byId("save-report").addEventListener("click", saveReport);
  byId("copy-image").addEventListener("click", copyResult);
  byId("copy-image").hidden = !canCopyImages();
  key.onSubmit(() => { showCurl(); send(); });
  showCurl();
  restorePhotos();
}
