/** What the X- headers say about a result, in words. */

/** @returns {{found: boolean, coverage: number | null}} */
export function outcome(headers) {
  return { found: headers.get("X-Foreground") !== "none", coverage: share(headers.get("X-Mask-Coverage")) };
}

/**
 * @param {Headers} headers
 * @param {{width: number, height: number, bytes: number, type: string, one: boolean}} result
 *   `one`: a person was chosen out of all that was found, which is what the headers measure
 * @returns {[string, string, string?][]} label, value, and a longer explanation
 */
export function facts(headers, { width, height, bytes, type, one }) {
  const { found, coverage } = outcome(headers);
  const digest = headers.get("X-Model-Digest")?.replace(/^sha256:/, "");
  const confidence = share(headers.get("X-Mask-Confidence"));
  const before = one ? ", before the main person was chosen" : "";
  return [
    ["Person", personOf(found, one)],
    ["Coverage", coverage === null ? "" : percent(coverage), `Share of the photo that is person${before}`],
    ["Edge confidence", found && confidence !== null ? percent(confidence) : "", "Share of the pixels along the outline that are expected to be right; by chance it would be half"],
    ["Pieces", found ? pieces(headers.get("X-Mask-Connectivity")) : "", `Separate parts of the mask, and how much of it is in the largest${before}`],
    ["Distance", distance(headers.get("X-Domain")), distanceReason(headers.get("X-Face-Ratio"))],
    ["Model", headers.get("X-Model") ?? "", digest && `sha256 ${digest}`],
    ["Runs on", backend(headers.get("X-Backend"))],
    ["File", `${width}\u00a0×\u00a0${height}, ${fileSize(bytes)} ${type.replace("image/", "").toUpperCase()}`],
  ].filter(([, value]) => value);
}

export function showFacts(list, rows) {
  list.replaceChildren(...rows.map(([label, value, title]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = label;
    description.textContent = value;
    if (title) row.title = title;
    row.append(term, description);
    return row;
  }));
}

export function percent(value) {
  const scaled = 100 * value;
  return `${scaled >= 10 || scaled === 0 ? Math.round(scaled) : scaled.toFixed(1)}\u00a0%`;
}

function personOf(found, one) {
  if (!found) return "None found";
  return one ? "Main person kept" : "Found";
}

/** `0.98;islands=2` -> `2, largest 98 %` */
function pieces(text) {
  const islands = Number(/islands=(\d+)/.exec(text)?.[1]);
  if (!islands) return "";
  return islands === 1 ? "1" : `${islands}, largest ${percent(share(text))}`;
}

/** `half_body` -> `Half body` */
function distance(domain) {
  const words = (domain ?? "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function distanceReason(ratio) {
  const covered = share(ratio);
  if (covered === null) return undefined;
  return covered ? `The face covers ${percent(covered)} of the photo` : "No face was found";
}

function share(text) {
  const value = Number.parseFloat(text);
  return Number.isFinite(value) ? value : null;
}

function backend(name) {
  return (name ?? "").replace(/ExecutionProvider$/, "");
}

function fileSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
}
