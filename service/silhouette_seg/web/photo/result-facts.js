/** Facts about a result, read from the X- headers of the response. */

import { percent } from "../ui/fact-list.js";

/**
 * Reads from the response headers whether a person was found.
 *
 * @returns {{found: boolean, doubtful: boolean, coverage: number | null}}
 *   `doubtful`: it may be an animal or an object; `coverage`: the person's share of the photo, 0..1
 */
export function foregroundOf(headers) {
  return {
    found: headers.get("X-Foreground") !== "none",
    doubtful: headers.has("X-Foreground-Doubtful"),
    coverage: parseShare(headers.get("X-Mask-Coverage")),
  };
}

/** Formats the header `X-Faces-Blurred`: `2` -> `2 faces blurred`; empty without the header. */
export function facesLabel(headers) {
  const count = headers.get("X-Faces-Blurred");
  if (count === null) return "";
  if (count === "0") return "No face was found, so none is blurred";
  return count === "1" ? "1 face blurred" : `${count} faces blurred`;
}

/**
 * Lists the facts about a result.
 *
 * @param {Headers} headers
 * @param {{width: number, height: number, bytes: number, type: string, dominantOnly: boolean}} result
 *   `dominantOnly`: only the main person was kept; the headers describe the mask before that
 * @returns {[string, string, string?][]} label, value, and an optional tooltip
 */
export function resultFacts(headers, { width, height, bytes, type, dominantOnly }) {
  const { found, doubtful, coverage } = foregroundOf(headers);
  const digest = headers.get("X-Model-Digest")?.replace(/^sha256:/, "");
  const confidence = parseShare(headers.get("X-Mask-Confidence"));
  const before = dominantOnly ? ", before the main person was selected" : "";
  return [
    ["Person", personLabel(found, doubtful, dominantOnly)],
    ["Faces", facesLabel(headers)],
    ["Coverage", coverage === null ? "" : percent(coverage), `Share of the photo that the person covers${before}`],
    ["Edge confidence", found && confidence !== null ? percent(confidence) : "", "Expected share of correct pixels along the outline; 50 % is chance"],
    ["Warning", headers.get("X-Input-Warning") ?? ""],
    ["Pieces", found ? piecesLabel(headers.get("X-Mask-Connectivity")) : "", `Separate parts of the mask, and the share of the largest${before}`],
    ["Distance", distanceLabel(headers.get("X-Domain")), distanceReason(headers.get("X-Face-Ratio"))],
    ["Model", headers.get("X-Model") ?? "", digest && `sha256 ${digest}`],
    ["Runs on", backendLabel(headers.get("X-Backend"))],
    ["File", `${width}\u00a0×\u00a0${height}, ${fileSize(bytes)} ${type.replace("image/", "").toUpperCase()}`],
  ].filter(([, value]) => value);
}

function personLabel(found, doubtful, dominantOnly) {
  if (!found) return "None found";
  if (doubtful) return "Perhaps: the outline is uncertain";
  return dominantOnly ? "Main person kept" : "Found";
}

/** Formats the header `X-Mask-Connectivity`: `0.98;islands=2` -> `2, largest 98 %`. */
function piecesLabel(connectivity) {
  const count = Number(/islands=(\d+)/.exec(connectivity)?.[1]);
  if (!count) return "";
  return count === 1 ? "1" : `${count}, largest ${percent(parseShare(connectivity))}`;
}

/** Formats the header `X-Domain`: `half_body` -> `Half body`. */
function distanceLabel(domain) {
  const words = (domain ?? "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function distanceReason(faceRatio) {
  const covered = parseShare(faceRatio);
  if (covered === null) return undefined;
  return covered ? `The face covers ${percent(covered)} of the photo` : "No face was found";
}

function parseShare(text) {
  const value = Number.parseFloat(text);
  return Number.isFinite(value) ? value : null;
}

function backendLabel(name) {
  return (name ?? "").replace(/ExecutionProvider$/, "");
}

function fileSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
}
