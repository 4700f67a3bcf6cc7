/** Functions that call the HTTP API of the service. */

import { problemFrom, unreachable, unreadable } from "./problem.js";

/** Paths of the API. They are relative to the page, so that a proxy can serve it below a prefix. */
export const SEGMENT_PATH = "v1/segment";
const REPORT_PATH = "v1/segment/report";
const WEBRTC_PATH = "v1/webrtc";

/**
 * @returns {Promise<{auto: string, models: {name: string, task: string}[],
 *   failed: {name: string, reason: string}[]}>}
 */
export async function fetchModels(key) {
  const response = await call("v1/models", { headers: keyHeader(key) });
  return response.json();
}

/** @returns {Promise<{streams: string[]}>} limits, formats and the transports of live video */
export async function fetchCapabilities(key) {
  const response = await call("v1/capabilities", { headers: keyHeader(key) });
  return response.json();
}

/** @returns {Promise<"ready" | "waiting" | "unreachable">} "waiting": it accepts no requests yet */
export async function fetchHealth() {
  try {
    return (await fetch("readyz", { cache: "no-store" })).ok ? "ready" : "waiting";
  } catch {
    return "unreachable";
  }
}

/**
 * Segments one photo.
 *
 * @param {File} photo
 * @param {[string, string | File][]} parameters  names and values of `POST /v1/segment`
 * @returns {Promise<{blob: Blob, headers: Headers, roundTripMs: number}>} image file and headers
 * @throws {import("./problem.js").Problem} or an AbortError
 */
export async function segment(photo, parameters, { key, signal }) {
  const started = performance.now();
  const response = await postPhoto(SEGMENT_PATH, photo, parameters, { key, signal });
  const blob = await readBlob(response);
  return { blob, headers: response.headers, roundTripMs: performance.now() - started };
}

/** @returns {Promise<Blob>} the JSON report of a photo; its arguments are those of `segment` */
export async function fetchReport(photo, parameters, key) {
  return readBlob(await postPhoto(REPORT_PATH, photo, parameters, { key }));
}

/**
 * Starts a WebRTC stream.
 *
 * @param {string} offer  SDP with its candidates
 * @param {Record<string, string | number>} options  parameters of the stream by name
 * @returns {Promise<{id: string, answer: string}>} the id of the stream, and the SDP answer
 */
export async function openWebRTC(offer, options, key) {
  const headers = { "Content-Type": "application/sdp", ...keyHeader(key) };
  const query = new URLSearchParams(options);
  const response = await call(`${WEBRTC_PATH}?${query}`, { method: "POST", body: offer, headers });
  const id = response.headers.get("Location").split("/").pop();
  return { id, answer: await response.text() };
}

/** Changes the options of a WebRTC stream from its next frame on. */
export async function configureWebRTC(id, options, key) {
  const headers = { "Content-Type": "application/json", ...keyHeader(key) };
  await call(`${WEBRTC_PATH}/${id}`, { method: "PATCH", body: JSON.stringify(options), headers });
}

/**
 * Ends a WebRTC stream; works while the page unloads. Failures are ignored: the service also ends a
 * stream whose connection is gone.
 */
export async function closeWebRTC(id, key) {
  const request = { method: "DELETE", keepalive: true, headers: keyHeader(key) };
  await fetch(`${WEBRTC_PATH}/${id}`, request).catch(() => {});
}

/** @returns {Promise<File>} a file of the page, such as a sample photo */
export async function fetchFile(path) {
  const blob = await readBlob(await call(path, {}));
  return new File([blob], path.split("/").pop(), { type: blob.type });
}

async function postPhoto(path, photo, parameters, { key, signal }) {
  const body = new FormData();
  body.append("image", photo, photo.name);
  for (const [name, value] of parameters) body.append(name, value);
  return call(path, { method: "POST", body, signal, headers: keyHeader(key) })
    .catch(async (error) => { throw await isReadable(photo) ? error : unreadable(photo); });
}

/** Returns false for a folder, and for a file that was deleted or changed: fetch() fails with them. */
function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

async function call(path, request) {
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!response.ok) throw await problemFrom(response);
  return response;
}

async function readBlob(response) {
  try {
    return await response.blob();
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
}

function keyHeader(key) {
  return key ? { "X-Api-Key": key } : {};
}
