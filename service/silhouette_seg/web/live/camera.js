/** Access to the cameras of the device. */

import { Problem } from "../api/problem.js";

/** Preferred video format. A camera without it uses the nearest one it has. */
const PREFERRED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** Title and detail of the error to show, by the name of the error of getUserMedia. */
const ERRORS = {
  NotAllowedError: ["The browser may not use the camera", "Allow it next to the address of the page, then try again."],
  NotFoundError: ["No camera was found", "Connect one, then try again."],
  NotReadableError: ["The camera cannot be read", "Another program may be using it. Close that program, then try again."],
  OverconstrainedError: ["That camera is no longer available", "Choose another one, then try again."],
};

/**
 * Opens a camera without sound.
 *
 * @param {string} id  device id from `listCameras`; empty for the browser's default
 * @returns {Promise<MediaStream>}
 * @throws {Problem}
 */
export async function openCamera(id) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem({
      title: "This page may not use a camera",
      detail: "Browsers allow cameras only over HTTPS or on localhost. Open the page there.",
    });
  }
  const device = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...PREFERRED, ...device }, audio: false });
  } catch (error) {
    const [title, detail] = ERRORS[error.name] ?? ["The camera did not start", String(error.message)];
    throw new Problem({ title, detail, retryable: true });
  }
}

/**
 * Opens the first camera whose name contains `name`, or the browser's default for an empty name.
 *
 * @throws {Problem}
 */
export async function openNamedCamera(name) {
  const first = await openCamera("");
  if (!name) return first;
  closeCamera(first); // it was opened for the permission: without it, cameras have no names
  const cameras = await listCameras();
  const named = cameras.find(({ label }) => label.toLowerCase().includes(name.toLowerCase()));
  if (named) return openCamera(named.deviceId);
  const labels = cameras.map(({ label }) => label).join(", ");
  throw new Problem({ title: `No camera is named ${name}`, detail: `There are: ${labels}.` });
}

/** Returns the error to show for a camera that stops while it is used. */
export function cameraEnded() {
  return new Problem({
    title: "The camera stopped",
    detail: "It was disconnected, or its permission was withdrawn.",
    retryable: true,
  });
}

/** Lists the cameras. Browsers list them only after the page was allowed to use one. */
export async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
}

/** Stops all tracks, which switches the light of the camera off. */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
