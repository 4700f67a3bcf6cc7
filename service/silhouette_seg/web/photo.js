import { segment, SEGMENT_PATH } from "./api.js";
import { curlCommand } from "./curl.js";
import { facts, outcome, percent, showFacts } from "./facts.js";
import { shownPart } from "./framing.js";
import { watchPhotos } from "./intake.js";
import { resultName } from "./naming.js";
import { isComplete, parameters, readOptions, watchOptions } from "./options.js";
import { startWhereTheyStand } from "./placement.js";
import { asProblem, problemCard } from "./problem-card.js";
import { Problem } from "./problem.js";
import { photoStage } from "./stage.js";
import { milliseconds, parseServerTiming, showTimings } from "./timings.js";

/** While a slider moves we wait this long for it to rest. */
const SETTLE_MS = 180;
const LABELS = { mask: "Mask", cutout: "Cut-out", composite: "Composite" };

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
let running = null; // the AbortController of the newest request
let settling = 0;

/** @param {"empty" | "waiting" | "working" | "done" | "failed"} state */
function enter(state, message) {
  main.dataset.state = state;
  byId("frame").setAttribute("aria-busy", String(state === "working"));
  byId("status").textContent = message;
}

async function choose(file) {
  photo = file;
  card.hide();
  byId("actions").hidden = byId("report").hidden = true;
  showCurl();
  const preview = stage.showPhoto(file, () => photo !== file);
  send();
  const shown = await preview;
  if (photo === file) main.classList.toggle("pictured", shown);
}

/** Sends the photo with the options of now; an earlier request still under way is given up. */
async function send() {
  clearTimeout(settling);
  running?.abort();
  if (!photo) return;
  const options = readOptions(form);
  if (!isComplete(options)) {
    enter("waiting", "Choose a picture for the background.");
    return;
  }
  const request = (running = new AbortController());
  enter("working", "Working on it…");
  try {
    const answer = await segment(photo, parameters(options), { key: key.value, signal: request.signal });
    if (!request.signal.aborted) await showAnswer(answer, options, request.signal);
  } catch (error) {
    if (!request.signal.aborted) showProblem(error);
  }
}

async function showAnswer({ blob, headers, roundTripMs }, options, signal) {
  const alt = `${LABELS[options.output]} of ${photo.name}`;
  const partOf = (whole, result) => shownPart(headers, whole, result, options.margin ?? 0);
  const shown = await stage.showResult(blob, {
    label: LABELS[options.output], alt, partOf, stale: () => signal.aborted,
  });
  if (signal.aborted) return;
  if (!shown) throw new Problem({ title: "The answer is not an image this browser can show" });

  if (!form.elements.move.checked) startWhereTheyStand(form.elements, headers, shown.photo);
  const one = options.person === "dominant";
  showFacts(byId("facts"), facts(headers, { ...shown, bytes: blob.size, type: blob.type, one }));
  showTimings(
    { timeline: byId("timeline"), list: byId("timing"), total: byId("timing-total") },
    parseServerTiming(headers.get("Server-Timing")), roundTripMs,
  );
  main.classList.add("pictured");
  const download = byId("download");
  download.href = shown.url;
  download.download = resultName(photo.name, options);
  card.hide();
  byId("actions").hidden = byId("report").hidden = false;
  enter("done", summary(headers, roundTripMs));
}

function summary(headers, roundTripMs) {
  const { found, coverage } = outcome(headers);
  if (!found) return "No person was found in this photo, so the mask is empty.";
  const size = coverage === null ? "" : `, ${percent(coverage)} of the photo`;
  return `Person found${size}. Done in ${milliseconds(roundTripMs)}.`;
}

function showProblem(error) {
  const problem = asProblem(error);
  byId("actions").hidden = byId("report").hidden = true;
  stage.clearResult();
  enter("failed", "No result for this photo.");
  if (problem.status === 401) {
    card.hide();
    key.ask();
  } else {
    card.show(problem);
  }
}

function showCurl() {
  const options = readOptions(form);
  const photoName = photo?.name ?? "photo.jpg";
  byId("curl").textContent = curlCommand({
    url: new URL(SEGMENT_PATH, document.baseURI).href,
    photoName,
    parameters: isComplete(options) ? parameters(options) : parameters({ ...options, backdrop: new File([], "background.jpg") }),
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
    // Not a secure context: select it, so that the usual shortcut works.
    getSelection().selectAllChildren(byId("curl"));
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}

/**
 * The photo tab.
 *
 * @param {ReturnType<import("./key.js").keyForm>} keys
 * @param {() => void} arrived  called for each photo, wherever on the page it was dropped or pasted
 */
export function photoTab(keys, arrived) {
  key = keys;
  watchPhotos({ input: byId("photo"), page: document.documentElement }, (file) => {
    arrived();
    choose(file);
  });
  watchOptions(form, ({ settled }) => {
    showCurl();
    clearTimeout(settling);
    if (settled) send();
    else settling = setTimeout(send, SETTLE_MS);
  });
  byId("retry").addEventListener("click", send);
  byId("copy").addEventListener("click", copyCurl);
  key.onOffered(() => { showCurl(); send(); });
  showCurl();
}
