/** Durations of the stages of a request: parsing of `Server-Timing`, and the bar that shows them. */

const STAGE_LABELS = {
  decode: "Decode", route: "Route", queue: "Queue", infer: "Model", post: "Matte", encode: "Encode",
  transfer: "Transfer and other",
};

/**
 * Parses a Server-Timing header: `decode;dur=1.5, infer;dur=12` -> [{name: "decode", ms: 1.5}, ...].
 * The total and entries without a duration are dropped.
 */
export function parseServerTiming(header) {
  return (header ?? "")
    .split(",")
    .map((entry) => {
      const [name, ...attributes] = entry.split(";").map((part) => part.trim());
      const duration = attributes.find((attribute) => attribute.startsWith("dur="));
      return { name, ms: Number(duration?.slice(4)) };
    })
    .filter(({ name, ms }) => name && name !== "total" && Number.isFinite(ms));
}

/** Formats milliseconds as `5.3 ms`, `84 ms` or `1.25 s`. */
export function formatMs(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)}\u00a0s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)}\u00a0ms`;
}

/**
 * Shows the stages of a request as a bar and a list, and the round trip in milliseconds.
 *
 * @param {{timeline: Element, list: Element, total: Element}} elements
 */
export function showTimings({ timeline, list, total }, stages, roundTripMs) {
  const serverMs = stages.reduce((sum, stage) => sum + stage.ms, 0);
  const rows = [...stages, { name: "transfer", ms: roundTripMs - serverMs }].filter(({ ms }) => ms > 0);
  total.textContent = `${formatMs(roundTripMs)} round trip`;
  timeline.replaceChildren(...rows.map(timelineSegment));
  list.replaceChildren(...rows.map(listRow));
}

function timelineSegment({ name, ms }) {
  const segment = document.createElement("i");
  segment.dataset.stage = name;
  segment.style.flexGrow = String(ms);
  return segment;
}

function listRow({ name, ms }) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  row.dataset.stage = name;
  term.textContent = STAGE_LABELS[name] ?? name;
  value.textContent = formatMs(ms);
  row.append(term, value);
  return row;
}
